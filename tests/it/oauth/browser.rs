//! As much of a browser as the pages need: it keeps cookies, reads forms and follows nothing.

use std::{cell::RefCell, collections::BTreeMap, net::SocketAddr};

use http::Request;
use http_body_util::Full;

use crate::support::{Reply, Sidegate, send};

pub const AUTHORIZE: &str = "/oauth20/authorize";

pub struct Browser {
    address: SocketAddr,
    pub language: String,
    pub cookies: RefCell<BTreeMap<String, String>>,
}

impl Browser {
    pub fn new(sidegate: &Sidegate) -> Browser {
        Browser::at(sidegate.public)
    }

    pub fn at(address: SocketAddr) -> Browser {
        Browser { address, language: "en".to_owned(), cookies: RefCell::default() }
    }

    pub async fn get(&self, query: &str) -> Reply {
        self.send(self.request("GET", &format!("{AUTHORIZE}?{query}")).body(Full::default()).unwrap()).await
    }

    /// Any path of the same host.
    pub async fn visit(&self, target: &str) -> Reply {
        self.send(self.request("GET", target).body(Full::default()).unwrap()).await
    }

    pub async fn post(&self, fields: &[(&str, &str)]) -> Reply {
        self.post_raw(&encode(fields)).await
    }

    pub async fn post_raw(&self, body: &str) -> Reply {
        let request = self.request("POST", AUTHORIZE).header("content-type", "application/x-www-form-urlencoded");
        self.send(request.body(Full::from(body.to_owned())).unwrap()).await
    }

    /// Fills in the form of a page; its hidden fields go along.
    pub async fn submit(&self, page: &Reply, fields: &[(&str, &str)]) -> Reply {
        assert!(page.text().contains("<form method=\"post\" action=\".&#x2f;authorize\">"), "{}", page.text());
        let form = hidden(page);
        let all: Vec<(&str, &str)> = [("form", &*form)].into_iter().chain(fields.iter().copied()).collect();
        self.post(&all).await
    }

    fn request(&self, method: &str, target: &str) -> http::request::Builder {
        let mut request = Request::builder().method(method).uri(target).header("host", "api.test");
        request = request.header("accept-language", &self.language);
        let cookies = self.cookies.borrow();
        if !cookies.is_empty() {
            let pairs: Vec<String> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request = request.header("cookie", pairs.join("; "));
        }
        request
    }

    async fn send(&self, request: Request<Full<bytes::Bytes>>) -> Reply {
        let reply = send(self.address, request).await;
        for cookie in reply.headers.get_all("set-cookie") {
            let cookie = cookie::Cookie::parse(cookie.to_str().unwrap().to_owned()).unwrap();
            let (name, value) = (cookie.name().to_owned(), cookie.value().to_owned());
            if cookie.max_age().is_some_and(|age| age.is_zero()) {
                self.cookies.borrow_mut().remove(&name);
            } else {
                self.cookies.borrow_mut().insert(name, value);
            }
        }
        reply
    }
}

pub fn encode(fields: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

/// The sealed value in the form of a page.
pub fn hidden(page: &Reply) -> String {
    let (_, rest) = page.text().split_once("name=\"form\" value=\"").unwrap_or_else(|| panic!("{}", page.text()));
    rest.split('"').next().unwrap().to_owned()
}

/// What a redirect says, from its query or its fragment; with the part before it.
pub fn answer(reply: &Reply) -> (String, BTreeMap<String, String>) {
    let location = reply.header("location").unwrap_or_else(|| panic!("{} {}", reply.status, reply.text()));
    let (uri, said) = location.split_once(['?', '#']).unwrap();
    let pairs: Vec<(String, String)> = form_urlencoded::parse(said.as_bytes()).into_owned().collect();
    let map: BTreeMap<String, String> = pairs.iter().cloned().collect();
    assert_eq!(map.len(), pairs.len(), "said twice: {location}");
    (uri.to_owned(), map)
}
