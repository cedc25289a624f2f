//! Where spans go.

use super::{files::Folder, *};

/// What came of these settings: the collector, or what is wrong, without places; and the warnings.
fn checked(otlp: &str) -> (Result<Otlp, Vec<String>>, Vec<String>) {
    let folder = Folder::new();
    folder.write("key", "hunter2-hunter2\n");
    let source = config(&format!("traces: {{otlp: {{{otlp}}}}}\n"));
    match load_str(&source, "c.yaml", folder.path(), &Environment::default()) {
        Ok(loaded) => {
            let otlp = loaded.config.traces.unwrap();
            assert!(!format!("{otlp:?}").contains("hunter2"));
            let ours = |warning: &&Warning| warning.path.to_string().starts_with("traces");
            (Ok(otlp), loaded.warnings.iter().filter(ours).map(ToString::to_string).collect())
        }
        Err(problems) => (Err(problems.list.iter().map(ToString::to_string).collect()), Vec::new()),
    }
}

const LOCAL: &str = "url: 'http://127.0.0.1:4318/v1/traces'";

#[cfg(not(feature = "otlp"))]
#[test]
fn a_build_without_the_feature_says_so() {
    let wrong = checked(LOCAL).0.unwrap_err();
    assert!(wrong.len() == 1 && wrong[0].contains("traces.otlp: this build has no otlp feature"), "{wrong:?}");
}

#[cfg(feature = "otlp")]
mod with_the_feature {
    use super::*;

    #[test]
    fn what_is_left_out_is_as_the_reference_says() {
        let (otlp, warnings) = checked(LOCAL);
        let otlp = otlp.unwrap();
        assert_eq!((otlp.sample, otlp.anyone, otlp.queue), (1.0, true, 4096));
        assert_eq!((otlp.timeout.as_secs(), otlp.interval.as_secs()), (10, 1));
        assert_eq!(otlp.resource[0], ("service.name".to_owned(), "sidegate".to_owned()));
        assert!(warnings.is_empty());
    }

    #[test]
    fn plain_http_to_another_machine_is_warned_of_and_never_carries_a_key() {
        let (otlp, warnings) = checked("url: 'http://collector.test:4318/v1/traces'");
        assert!(otlp.is_ok() && warnings.len() == 1, "{warnings:?}");
        let wrong =
            checked("url: 'http://collector.test/v1/traces', header_files: {Authorization: key}").0.unwrap_err();
        assert!(wrong[0].contains("traces.otlp.url") && wrong[0].contains("use https"), "{wrong:?}");
        assert!(checked("url: 'https://collector.test/v1/traces', header_files: {Authorization: key}").0.is_ok());
    }

    #[test]
    fn what_cannot_be_is_named() {
        for (otlp, said) in [
            ("sample: 0.5", "traces.otlp.url: missing"),
            ("url: 'http://127.0.0.1/', sample: 1.5", "traces.otlp.sample"),
            ("url: 'http://127.0.0.1/', sample: .nan", "not a finite number"),
            ("url: 'http://127.0.0.1/', queue: 0", "traces.otlp.queue"),
            ("url: 'grpc://127.0.0.1:4317'", "traces.otlp.url"),
            (
                "url: 'http://127.0.0.1/', header_files: {Authorization: nowhere}",
                "traces.otlp.header_files.Authorization",
            ),
            ("url: 'http://127.0.0.1/', header_files: {Host: key}", "traces.otlp.header_files.Host"),
            ("url: 'http://127.0.0.1/', resource: {service.name: ''}", "traces.otlp.resource"),
        ] {
            let wrong = checked(otlp).0.expect_err(otlp);
            assert!(wrong.iter().any(|wrong| wrong.contains(said)), "{otlp}: {wrong:?}");
        }
    }
}
