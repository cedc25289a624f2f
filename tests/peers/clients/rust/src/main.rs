//! The crate `oauth2`, with a client for plain http on loopback.

use std::env::var;

use oauth2::{
    AuthUrl, AuthorizationCode, ClientId, ClientSecret, CsrfToken, HttpRequest, HttpResponse, IntrospectionUrl,
    PkceCodeChallenge, RedirectUrl, RefreshToken, RequestTokenError, RevocationUrl, Scope, StandardRevocableToken,
    TokenIntrospectionResponse, TokenResponse, TokenUrl,
    basic::{BasicClient, BasicErrorResponseType},
    url::Url,
};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let (issuer, browser, callback) = (var("ISSUER")?, var("BROWSER")?, var("CALLBACK")?);
    let at = |path: &str| format!("{issuer}/oauth20/{path}");
    let client = |id: &str, secret: &str| -> Result<_> {
        Ok(BasicClient::new(ClientId::new(id.to_owned()))
            .set_client_secret(ClientSecret::new(secret.to_owned()))
            .set_auth_uri(AuthUrl::new(at("authorize"))?)
            .set_token_uri(TokenUrl::new(at("token"))?)
            .set_introspection_url(IntrospectionUrl::new(at("introspect"))?)
            // The crate has no switch for plain http here, and asks before it sends.
            .set_revocation_url(RevocationUrl::new(at("revoke"))?)
            .set_redirect_uri(RedirectUrl::new(callback.clone())?))
    };
    let call = |token: &str, status: i32| -> Result<()> {
        let authorization = format!("Bearer {token}");
        let answer = minreq::get(format!("{issuer}/orders/7")).with_header("authorization", authorization).send()?;
        assert_eq!(answer.status_code, status);
        Ok(())
    };

    let web = client("web", "web-secret-2Vq8Zr5Tn1Xw7Ky4")?;
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let (url, state) = web
        .authorize_url(CsrfToken::new_random)
        .add_scope(Scope::new("orders".to_owned()))
        .set_pkce_challenge(challenge)
        .url();
    let called = minreq::get(Url::parse_with_params(&browser, [("url", url.as_str())])?.as_str()).send()?;
    assert_eq!(called.status_code, 200);
    let called = Url::parse(called.as_str()?)?;
    let parameter = |name: &str| called.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    assert_eq!(parameter("state").as_ref(), Some(state.secret()));
    let code = AuthorizationCode::new(parameter("code").ok_or("no code")?);

    let redeemed = web.exchange_code(code).set_pkce_verifier(verifier).request(&send)?;
    call(redeemed.access_token().secret(), 200)?;
    let first = redeemed.refresh_token().ok_or("no refresh token")?;
    let refreshed = web.exchange_refresh_token(first).request(&send)?;
    let second: RefreshToken = refreshed.refresh_token().ok_or("no refresh token")?.clone();
    assert_ne!(second.secret(), first.secret());
    let access = refreshed.access_token();
    call(access.secret(), 200)?;
    assert!(web.introspect(access).request(&send)?.active());

    match web.revoke_token(StandardRevocableToken::RefreshToken(second.clone())) {
        Ok(request) => request.request(&send)?,
        // The crate revokes by https only: then as it would have sent it.
        Err(_) => {
            let body = format!("token={}&client_id=web&client_secret=web-secret-2Vq8Zr5Tn1Xw7Ky4", second.secret());
            let form = ("content-type", "application/x-www-form-urlencoded");
            let answer = minreq::post(at("revoke")).with_header(form.0, form.1).with_body(body).send()?;
            assert_eq!(answer.status_code, 200);
        }
    }
    call(access.secret(), 401)?;
    assert!(!web.introspect(access).request(&send)?.active());
    match web.exchange_refresh_token(&second).request(&send) {
        Err(RequestTokenError::ServerResponse(refused)) => {
            assert_eq!(refused.error(), &BasicErrorResponseType::InvalidGrant);
        }
        other => return Err(format!("a revoked refresh token was taken: {other:?}").into()),
    }

    let batch = client("batch", "batch-secret-9Lm3Pb6Hd0Jc8Fg2")?;
    let own = batch.exchange_client_credentials().add_scope(Scope::new("orders".to_owned())).request(&send)?;
    call(own.access_token().secret(), 200)
}

fn send(request: HttpRequest) -> std::result::Result<HttpResponse, minreq::Error> {
    let url = request.uri().to_string();
    let mut asked = if request.method() == http::Method::POST { minreq::post(url) } else { minreq::get(url) };
    for (name, value) in request.headers() {
        asked = asked.with_header(name.as_str(), value.to_str().unwrap_or_default());
    }
    let answer = asked.with_body(request.into_body()).send()?;
    let mut response = http::Response::builder().status(answer.status_code as u16);
    for (name, value) in &answer.headers {
        response = response.header(name, value);
    }
    Ok(response.body(answer.into_bytes()).expect("what came over HTTP can go into a response"))
}
