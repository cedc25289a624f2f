//! Portuguese, as Brazil writes it.

use super::Texts;

pub const TEXTS: Texts = Texts {
    lang: "pt",
    sign_in: "Entrar",
    sign_in_to: "para continuar em {client}",
    username: "Nome de usuário",
    password: "Senha",
    remember: "Manter a sessão neste dispositivo",
    wrong: "O nome de usuário e a senha não conferem. Verifique os dois e tente novamente.",
    throttled: "Houve tentativas demais. Espere {seconds} segundos e tente novamente.",
    throttled_long: "Houve tentativas demais. Espere {minutes} minutos e tente novamente.",
    consent: "Permitir o acesso?",
    consent_asks: "{client} pede acesso à sua conta.",
    consent_scopes: "O que ele pede:",
    signed_in_as: "Você entrou como {user}",
    goes_to: "Depois, você será levado a {host}.",
    allow: "Permitir",
    deny: "Negar",
    expired: "Esta página expirou",
    expired_text: "Ela ficou aberta por tempo demais. Nada se perdeu: comece de novo e entre.",
    start_again: "Começar de novo",
    reference: "Referência: {id}",
    broken_link: "Este link não funciona",
    broken_link_advice: "Volte ao aplicativo e tente novamente. Se não ajudar, avise os responsáveis por ele. Nada foi \
                         enviado a ninguém.",
    client_missing: "Ele não diz, de forma única, de qual aplicativo você vem.",
    client_unknown: "Ele vem de um aplicativo que não é conhecido aqui.",
    redirect_missing: "Ele não diz, de forma única, para onde levar você depois.",
    redirect_unknown: "Ele levaria você a um endereço que não está registrado para o aplicativo.",
    too_long: "Ele é longo demais.",
    other_browser: "Este formulário não pertence a este navegador",
    other_browser_text: "Ele foi aberto em outro lugar, ou o seu navegador não enviou o cookie que veio com ele. Permita \
                         os cookies deste site e recomece a partir do aplicativo.",
    other_sign_in: "Esta entrada não pertence a este navegador",
    other_sign_in_text: "Ela foi iniciada em outro lugar, já terminou, ou o seu navegador não enviou o cookie que \
                         veio com ela. Permita os cookies deste site e recomece a partir do aplicativo.",
    unreadable: "Não foi possível ler este formulário",
    unreadable_text: "Algo nele falta ou foi alterado. Volte ao aplicativo e tente novamente.",
    failed: "Algo deu errado por aqui",
    failed_text: "A culpa não é sua. Tente novamente daqui a pouco.",
};
