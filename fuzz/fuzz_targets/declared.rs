//! A declared dialect, with members in members, texts around tokens, JSON, XML, forms and queries: nothing that is read
//! makes it say nonsense, and what was heard can be written and heard again.
#![no_main]

use std::{path::Path, sync::OnceLock};

use http::{HeaderValue, Method, Request, Response, header};
use libfuzzer_sys::fuzz_target;
use sidegate::{
    config::{self, DeclaredPlace, Environment},
    dialect::{Heard, declared},
    model::{TokenError, TokenGrant, UnixTime},
};
use sidegate_fuzz::{File, assert_ends_no_session_in_trouble, assert_refusal};

fuzz_target!(|data: &[u8]| {
    let file = File::read(data);
    let mut head = file.request.parts();
    if file.request.line.starts_with(b"GET ") {
        head.method = Method::GET;
    }
    for place in places() {
        match declared::read_request(place, &head, file.request.body) {
            Ok(request) => drop(declared::write_request(&place.dialect, &request)),
            Err(error) => {
                assert_refusal(&error, &declared::write_reply(place, &Err(error.clone()), &head, "realm"));
            }
        }
    }
    let (status, headers, body) = (file.answer.status(), &file.answer.headers, file.answer.body);
    let heard = declared::read_reply(&places()[0].dialect, &Heard { status, headers, body, asked: ASKED });
    assert_ends_no_session_in_trouble(status, &heard);
    if let Ok(grant) = heard {
        for accept in ["application/json", "text/xml"] {
            let first = written(&grant, accept);
            let once = again(&first).expect("what was written can be read");
            assert_eq!(first.body(), written(&once, accept).body());
        }
    }
});

fn written(grant: &TokenGrant, accept: &'static str) -> Response<Vec<u8>> {
    let mut head = Request::post("/").body(()).expect("a path").into_parts().0;
    head.headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
    declared::write_reply(&places()[0], &Ok(grant.clone()), &head, "realm").map(|body| body.to_vec())
}

fn again(answer: &Response<Vec<u8>>) -> Result<TokenGrant, TokenError> {
    let (status, headers, body) = (answer.status(), answer.headers(), answer.body());
    declared::read_reply(&places()[0].dialect, &Heard { status, headers, body, asked: ASKED })
}

/// One for each endpoint, and one for those that share a path.
fn places() -> &'static [DeclaredPlace] {
    static PLACES: OnceLock<Vec<DeclaredPlace>> = OnceLock::new();
    PLACES.get_or_init(|| {
        let source = format!("{}{REST}", include_str!("../../tests/golden/declared/acme.yaml"));
        let loaded = config::load_str(&source, "fuzz.yaml", Path::new("/nowhere"), &Environment::default());
        let dialects = loaded.unwrap_or_else(|problems| panic!("{problems}")).config.dialects;
        let dialect = &dialects[0];
        let place = |endpoints| DeclaredPlace {
            dialect: dialect.clone(),
            endpoints,
            path: "/".to_owned(),
            client: Some("app".to_owned()),
        };
        let single = (0..dialect.endpoints.len()).map(|index| place(vec![index]));
        [place(vec![0, 1])].into_iter().chain(single).collect()
    })
}

const REST: &str = "
issuers: [{name: corp, issuer: 'https://idp.example.com'}]
upstreams: [{name: app, url: 'http://127.0.0.1:3000'}]
routes: [{name: all, paths: ['/*'], upstream: app, policy: {audiences: [api]}}]
";

const ASKED: UnixTime = UnixTime(1_611_841_268);
