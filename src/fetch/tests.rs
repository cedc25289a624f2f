use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_rustls::TlsAcceptor;

use super::{
    testing::{Provider, Reply},
    *,
};

const BOUNDS: Bounds = Bounds { timeout: Duration::from_secs(20), bytes: 1000 };

#[tokio::test]
async fn only_a_200_within_the_bounds_is_an_answer() {
    let server = Provider::start().await;
    let fetcher = Fetcher::new(None);
    for (reply, expected) in [
        (Reply::Json("{}".to_owned()), Ok("{}".into())),
        (Reply::Json(" ".repeat(1000)), Ok(" ".repeat(1000).into())),
        (Reply::Json(" ".repeat(1001)), Err(FetchError::TooLarge(1000))),
        (Reply::Status(204), Err(FetchError::Status(StatusCode::NO_CONTENT))),
        (Reply::Status(500), Err(FetchError::Status(StatusCode::INTERNAL_SERVER_ERROR))),
        (Reply::Redirect("/elsewhere".to_owned()), Err(FetchError::Status(StatusCode::FOUND))),
    ] {
        server.reply("/x", reply);
        assert_eq!(fetcher.get_json(&server.url("/x"), BOUNDS).await, expected);
    }
    assert_eq!(server.hits("/elsewhere"), 0);
}

#[tokio::test]
async fn an_answer_that_does_not_come_ends_by_itself() {
    let server = Provider::start().await;
    let fetcher = Fetcher::new(None);
    let bounds = Bounds { timeout: Duration::from_millis(50), bytes: 1000 };
    server.reply("/x", Reply::Held(Arc::new(Semaphore::new(0)), String::new()));
    assert_eq!(fetcher.get_json(&server.url("/x"), bounds).await, Err(FetchError::Timeout(bounds.timeout)));
    server.reply("/x", Reply::Broken);
    assert!(matches!(fetcher.get_json(&server.url("/x"), BOUNDS).await, Err(FetchError::Transport(_))));
    let nobody = Url::parse("http://127.0.0.1:1/").unwrap();
    assert!(matches!(fetcher.get_json(&nobody, BOUNDS).await, Err(FetchError::Connect(_))));
    let file = Url::parse("file:///etc/hostname").unwrap();
    assert!(fetcher.get_json(&file, BOUNDS).await.is_err());
}

#[tokio::test]
async fn a_form_is_posted_with_the_id_and_secret_form_encoded() {
    let server = Provider::start().await;
    server.reply("/x", Reply::Json("{}".to_owned()));
    let auth = ClientAuth::basic("a:b", &Secret::new("p w+ä".to_owned()));
    let form = [("token", "a+b/c=&x=y")];
    Fetcher::new(None).post_form(&server.url("/x"), &auth, &form, BOUNDS).await.unwrap();
    let seen = server.seen().remove(0);
    // base64 of "a%3Ab:p+w%2B%C3%A4"
    assert_eq!(seen.authorization.as_deref(), Some("Basic YSUzQWI6cCt3JTJCJUMzJUE0"));
    assert_eq!(seen.body, "token=a%2Bb%2Fc%3D%26x%3Dy");
    assert!(!format!("{auth:?}").contains("YSUz"));
}

#[tokio::test]
async fn json_is_posted_with_the_bearer_token_and_every_status_is_an_answer() {
    let server = Provider::start().await;
    let (fetcher, token) = (Fetcher::new(None), Secret::new("t0ken".to_owned()));
    let body = serde_json::json!({ "a": "ä" });
    server.reply("/x", Reply::Json("{}".to_owned()));
    let answer = fetcher.post_json(&server.url("/x"), Some(&token), &body, BOUNDS).await;
    assert_eq!(answer, Ok((StatusCode::OK, "{}".into())));
    let seen = server.seen().remove(0);
    assert_eq!(seen.authorization.as_deref(), Some("Bearer t0ken"));
    assert_eq!(seen.body, "{\"a\":\"ä\"}");
    server.reply("/x", Reply::Status(404));
    let (status, _) = fetcher.post_json(&server.url("/x"), None, &body, BOUNDS).await.unwrap();
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(server.seen().remove(1).authorization, None);
}

/// An https server with a certificate for `localhost`, and the certificate.
async fn secure_server() -> (Url, NamedFile) {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let file = NamedFile::new("roots.pem".into(), certified.cert.pem().into_bytes());
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der());
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key.into())
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("https://localhost:{}/", listener.local_addr().unwrap().port())).unwrap();
    tokio::spawn(async move {
        let acceptor = TlsAcceptor::from(Arc::new(config));
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            let service = service_fn(async |_| Ok::<_, String>(http::Response::new(Full::<Bytes>::from("{}"))));
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        }
    });
    (url, file)
}

#[tokio::test]
async fn only_the_configured_roots_are_trusted() {
    let (url, file) = secure_server().await;
    let (_, other) = secure_server().await;
    assert_eq!(Fetcher::new(Some(file)).get_json(&url, BOUNDS).await, Ok("{}".into()));
    let refused = Fetcher::new(Some(other)).get_json(&url, BOUNDS).await.unwrap_err();
    assert!(matches!(&refused, FetchError::Connect(text) if text.contains("certificate")), "{refused}");
}

#[tokio::test]
async fn roots_that_are_none_are_told_of() {
    let (url, _) = secure_server().await;
    let none = NamedFile::new("roots.pem".into(), b"no certificate".to_vec());
    assert!(matches!(Fetcher::new(Some(none)).get_json(&url, BOUNDS).await, Err(FetchError::Roots(_))));
}
