use super::*;

#[test]
fn every_built_in_page_can_be_filled_in() {
    Pages::new(None, "x").unwrap().rehearse(Path::new("(built in)")).unwrap();
}
