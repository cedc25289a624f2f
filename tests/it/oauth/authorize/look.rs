//! Language, theme, and what a page lets a browser do.

use std::{fs, path::Path};

use aws_lc_rs::digest;
use base64::{Engine, prelude::BASE64_STANDARD};

use super::*;

#[tokio::test]
async fn the_pages_speak_the_language_that_the_browser_asks_for() {
    let (sidegate, mut browser) = start("").await;
    for (accept, lang, heading) in [
        ("en-GB,en;q=0.9", "en", "Sign in"),
        ("pt-BR,pt;q=0.9,en;q=0.8", "pt", "Entrar"),
        ("fr, pt;q=0.3, en;q=0.2", "pt", "Entrar"),
        ("fr", "en", "Sign in"),
    ] {
        browser.language = accept.to_owned();
        let page = browser.get(APP).await;
        assert!(page.text().contains(&format!("<html lang=\"{lang}\">")), "{accept}");
        assert!(page.text().contains(&format!("<h1>{heading}</h1>")), "{accept}");
        assert_eq!(page.header("content-language"), Some(lang));
    }
    browser.language = "pt".to_owned();
    let page = browser.get("client_id=asks&response_type=code").await;
    assert!(page.text().contains("para continuar em Tom &amp; Jerry"));
    let wrong = browser.submit(&page, &[("username", "alice"), ("password", "x")]).await;
    assert!(wrong.text().contains("não conferem"));
    let consent = browser.submit(&page, &ALICE).await;
    assert!(consent.text().contains("Permitir o acesso?") && consent.text().contains("Você entrou como alice"));
    assert!(browser.get("client_id=x").await.text().contains("Este link não funciona"));
    sidegate.time.advance(3600);
    assert!(browser.submit(&page, &ALICE).await.text().contains("Esta página expirou"));
}

#[tokio::test]
async fn a_form_may_only_go_home_and_on_to_the_application() {
    let (_sidegate, browser) = start("").await;
    let policy = |reply: &Reply| reply.header("content-security-policy").unwrap().to_owned();
    assert!(policy(&browser.get(APP).await).contains("; form-action 'self' https:;"));
    let phone = format!(
        "client_id=phone&response_type=code&code_challenge={CHALLENGE}&code_challenge_method=S256\
         &redirect_uri=http://127.0.0.1:5/cb"
    );
    assert!(policy(&browser.get(&phone).await).contains("; form-action 'self' https: http:;"));
    assert!(policy(&browser.get("").await).contains("; form-action 'none';"));
}

#[tokio::test]
async fn a_sign_in_page_says_what_helpers_need() {
    let (_sidegate, browser) = start("").await;
    let page = browser.get(&format!("{APP}&login_hint=al%22ice%3E")).await;
    let text = page.text();
    for part in [
        "<label for=\"username\">",
        "<label for=\"password\">",
        "autocomplete=\"username\"",
        "autocomplete=\"current-password\"",
        "value=\"al&quot;ice&gt;\"",
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(text.matches("<h1>").count(), 1);
    assert!(!text.contains("role=\"alert\"") && !text.contains(CHALLENGE));
}

/// A folder of this test's own.
fn theme(name: &str, files: &[(&str, &str)]) -> std::path::PathBuf {
    let folder = std::env::temp_dir().join(format!("sidegate-theme-{name}-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    for (name, content) in files {
        fs::write(folder.join(name), content).unwrap();
    }
    folder
}

fn themed(folder: &Path) -> String {
    format!("  pages: {{ title: \"A & B\", theme: \"{}\" }}\n", folder.display())
}

#[tokio::test]
async fn a_theme_takes_the_place_of_templates_and_style() {
    let sign_in = "{% extends \"base.html\" %}{% block heading %}Hi{% endblock %}{% block content %}\
                   {% include \"logo.html\" %}<i>{{ client }}</i>{{ form }}{% endblock %}";
    let files = [("sign-in.html", sign_in), ("logo.html", "<svg></svg>"), ("style.css", "h1 { color: teal }\n")];
    let folder = theme("good", &files);
    let (_sidegate, browser) = start(&themed(&folder)).await;
    let page = browser.get("client_id=asks&response_type=code").await;
    fs::remove_dir_all(&folder).unwrap();
    let text = page.text();
    assert!(
        text.contains("<h1>Hi</h1>") && text.contains("<svg></svg><i>Tom &amp; Jerry&#x27;s &lt;shop&gt;</i>"),
        "{text}"
    );
    assert!(text.contains("<style>h1 { color: teal }\n</style>") && text.contains("<p class=\"brand\">A &amp; B</p>"));
    // openssl dgst -sha256 -binary | base64
    let digest = BASE64_STANDARD.encode(digest::digest(&digest::SHA256, b"h1 { color: teal }\n"));
    assert!(page.header("content-security-policy").unwrap().contains(&format!("style-src 'sha256-{digest}'")));
    assert_page(&browser.get("").await, 400);
}

#[tokio::test]
async fn a_broken_theme_is_named_with_file_and_line_and_a_reload_keeps_the_old_one() {
    let (sidegate, browser) = start("").await;
    for (name, file, content, said) in [
        ("syntax", "consent.html", "<h1>\n{% if %}", "consent.html:2: "),
        ("word", "error.html", "a\nb\n{{ headline }}", "error.html:3: "),
        ("style", "style.css", "</STYLE >", "style.css: </style may not stand in it"),
    ] {
        let folder = theme(name, &[(file, content)]);
        let config = crate::support::sidegate::parse(&yaml(&themed(&folder)));
        let app = sidegate.app.clone();
        let error = tokio::task::spawn_blocking(move || app.reload(config, crate::support::sidegate::signalled()))
            .await
            .unwrap()
            .unwrap_err()
            .to_string();
        fs::remove_dir_all(&folder).unwrap();
        assert!(error.starts_with("pages.theme: ") && error.contains(said), "{error}");
        assert!(error.contains(folder.to_str().unwrap()), "{error}");
        assert_page(&browser.get(APP).await, 200);
    }
    let config = yaml("  pages: { theme: /nowhere/at/all }\n");
    let config = crate::support::sidegate::parse(&config);
    let error = sidegate::app::App::check_theme(&config).unwrap_err().to_string();
    assert!(error.starts_with("pages.theme: /nowhere/at/all: "), "{error}");
}
