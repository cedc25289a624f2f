use std::sync::Arc;

use super::*;

const START: UnixTime = UnixTime(1_800_000_000);
const DAY: u64 = 24 * 3600;

fn id(number: u128) -> RequestId {
    RequestId::new(number)
}

fn known(issuer: &str, client: Option<&str>) -> Option<Known> {
    Some(Known { issuer: Some(issuer.into()), client: client.map(Into::into) })
}

fn sentence(trial: &Trial, now: UnixTime) -> String {
    trial.report("orders", now).sentence
}

#[test]
fn a_route_that_would_refuse_nobody_for_a_day_may_enforce() {
    let trial = Trial::new(START);
    assert_eq!(sentence(&trial, START.plus(90)), "route orders: no request in 1 minute: nothing is known yet.");
    for _ in 0..12_345 {
        trial.seen(START.plus(60));
    }
    assert_eq!(
        sentence(&trial, START.plus(3600)),
        "route orders: 0 of 12,345 requests of the last 1 hour would have been refused: look again when there were 100 and \
         a whole day."
    );
    assert_eq!(
        sentence(&trial, START.plus(3 * DAY)),
        "route orders: 0 of 12,345 requests of the last 3 days would have been refused: enforce it."
    );
}

#[test]
fn what_would_be_refused_is_told_by_reason_and_by_whom_the_configuration_knows() {
    let trial = Trial::new(START);
    for number in 0..50 {
        let now = START.plus(number);
        trial.seen(now);
        match number {
            0..10 => trial.refused(Reason::TokenMissing, "missing_token", None, &id(number.into()), now),
            10..13 => {
                let known = known("corp", (number == 10).then_some("billing"));
                trial.refused(Reason::AudienceRefused, "audience_refused", known, &id(number.into()), now);
            }
            _ => {}
        }
    }
    let report = trial.report("orders", START.plus(DAY));
    assert_eq!((report.requests, report.would_allow, report.would_refuse, report.share), (50, 37, 13, 0.26));
    assert_eq!(report.verdict, Judgement::Mend);
    assert_eq!(report.sentence, "route orders: 13 of 50 requests of the last 1 day would have been refused (26.0 %).");
    assert_eq!(report.first_refusal.as_deref(), Some("2027-01-15T08:00:00Z"));
    assert_eq!(report.last_refusal.as_deref(), Some("2027-01-15T08:00:12Z"));
    let reasons: Vec<_> = report.reasons.iter().map(|reason| (reason.reason, reason.refused)).collect();
    assert_eq!(reasons, [("token_missing", 10), ("audience_refused", 3)]);
    let audience = &report.reasons[1];
    let known: Vec<_> = audience.known.iter().map(|known| (known.client.as_deref(), known.refused)).collect();
    assert_eq!(known, [(None, 2), (Some("billing"), 1)]);
    assert_eq!(audience.examples[0].client.as_deref(), Some("billing"));
    assert!(report.reasons[0].known.is_empty(), "nobody is believed without a valid token");
}

#[test]
fn a_reload_that_mends_it_shows_at_once() {
    let trials = Trials::default();
    let trial = trials.of(&"orders".into(), START);
    for _ in 0..200 {
        trial.seen(START);
        trial.refused(Reason::ScopeMissing, "scope_missing", None, &id(1), START);
    }
    trials.reloaded(["orders"].into_iter(), START.plus(60));
    let report = trial.report("orders", START.plus(120));
    assert_eq!(report.verdict, Judgement::Mend, "nothing came since, so nothing is mended");
    for _ in 0..1000 {
        trial.seen(START.plus(100));
    }
    let report = trial.report("orders", START.plus(60 + 2 * DAY));
    assert_eq!(
        report.sentence,
        "route orders: 0 of 1,000 requests since the reload 2 days ago (200 before it) would have been refused: enforce it."
    );
    assert_eq!((report.requests, report.would_refuse, report.reasons[0].refused_since_reload), (1200, 200, Some(0)));
    assert!(Arc::ptr_eq(&trial, &trials.of(&"orders".into(), START.plus(9))), "the name stays, and so do its counts");
    trials.reloaded(["payments"].into_iter(), START.plus(70));
    assert!(!Arc::ptr_eq(&trial, &trials.of(&"orders".into(), START.plus(9))));
}

#[test]
fn examples_are_few_and_of_different_moments() {
    let trial = Trial::new(START);
    for number in 0..100 {
        trial.seen(START.plus(number));
        trial.refused(Reason::TokenMissing, "missing_token", None, &id(number.into()), START.plus(number));
    }
    let report = trial.report("orders", START.plus(100));
    let ids: Vec<_> = report.reasons[0].examples.iter().map(|example| example.request_id.clone()).collect();
    assert_eq!(ids, [id(90), id(80), id(70)].map(|id| id.as_str().to_owned()));
}

#[test]
fn whom_the_configuration_knows_is_counted_under_a_bound() {
    let trial = Trial::new(START);
    for number in 0..1000 {
        let known = known("corp", Some(&format!("c{number}")));
        trial.refused(Reason::ClientRefused, "client_refused", known, &id(number), START);
    }
    let report = trial.report("orders", START);
    let known = &report.reasons[0].known;
    assert_eq!((known.len(), known[0].refused), (MOST_KNOWN + 1, 1000 - MOST_KNOWN as u64));
    assert_eq!((&known[0].issuer, &known[0].client), (&None, &None));
}

#[test]
fn a_reset_begins_anew() {
    let trial = Trial::new(START);
    trial.seen(START);
    trial.refused(Reason::TokenMissing, "missing_token", None, &id(1), START);
    trial.mark(START);
    trial.reset(START.plus(5));
    let report = trial.report("orders", START.plus(6));
    assert_eq!((report.requests, report.would_refuse, report.reasons.len()), (0, 0, 0));
    assert_eq!((report.since.as_str(), report.since_reload.is_none()), ("2027-01-15T08:00:05Z", true));
}
