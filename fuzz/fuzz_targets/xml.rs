//! `consinco` in XML, and the reader of XML by itself. Input: tests/golden.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sidegate::dialect::xml;

fuzz_target!(|data: &[u8]| {
    sidegate_fuzz::consinco::check(data, "application/xml");
    if let Ok(root) = xml::read(data) {
        let text = root.text_of(None, "A");
        if let Ok(Some(text)) = text {
            let document = xml::write("R", None, [("A", Some(text.expose()))]);
            let again = xml::read(&document).expect("what was written can be read");
            let again = again.text_of(None, "A").expect("one child").expect("it is there").expose().clone();
            assert_eq!(&again, text.expose());
        }
    }
});
