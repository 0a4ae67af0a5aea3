//! How an identity is accepted, rejected, withdrawn and given back.

use std::time::Duration;

use tokio::time::sleep;
use tonic::Code;

use super::fake::{Stage, leap, meanwhile, message, nothing, refused, status, svid};
use crate::source::workload_api::limits;

#[tokio::test(start_paused = true)]
async fn w10_a_withdrawn_identity_is_kept_as_such_until_it_is_given_back() {
    let mut stage = Stage::new();
    let identity = svid(0, 3600);
    let open = stage.call().await.serve(&identity);
    meanwhile().await;
    assert_eq!(stage.said(), ["identity-received"]);

    open.fail(status(Code::PermissionDenied));
    for _ in 0..5 {
        let call = stage.call().await;
        assert_eq!(stage.shown(), ("not registered", "withdrawn"));
        assert!(stage.holds(&identity));
        call.fail(status(Code::PermissionDenied));
    }
    let call = stage.call().await;
    assert_eq!(stage.said(), ["identity-withdrawn"], "once, and nothing beside it");

    // Neither a fault nor a rejected message gives it back.
    call.fail(refused());
    let open = stage.call().await.answer(Some(nothing()));
    meanwhile().await;
    assert_eq!(stage.shown(), ("streaming", "withdrawn"));
    assert!(stage.holds(&identity));

    open.send(&identity);
    meanwhile().await;
    assert_eq!(stage.shown(), ("streaming", "current"));
    assert!(stage.holds(&identity));
    let said = stage.said();
    assert_eq!(said.iter().filter(|name| *name == "identity-received").count(), 1, "{said:?}");

    // The next withdrawal is reported again.
    open.fail(status(Code::PermissionDenied));
    let _call = stage.call().await;
    assert_eq!(stage.said(), ["identity-withdrawn"]);
}

#[tokio::test(start_paused = true)]
async fn w11_a_lost_connection_withdraws_nothing() {
    let mut stage = Stage::new();
    let identity = svid(0, 3600);
    for end in [refused(), status(Code::Unavailable), status(Code::Unimplemented)] {
        let open = stage.call().await.serve(&identity);
        meanwhile().await;
        open.fail(end);
        let call = stage.call().await;
        assert_eq!(stage.shown(), ("failed", "current"));
        assert!(stage.holds(&identity));
        drop(call.answer(None));
    }
}

#[tokio::test(start_paused = true)]
async fn w13_a_rejected_message_leaves_the_identity_and_is_reported_once_until_one_is_accepted() {
    let mut stage = Stage::new();
    let identity = svid(0, 3600);
    let open = stage.call().await.serve(&identity);
    meanwhile().await;
    stage.said();
    for rejections in 1..=3 {
        open.send_bytes(nothing());
        meanwhile().await;
        let now = stage.now();
        assert!(stage.holds(&identity) && now.rejected.is_some());
        assert_eq!((stage.shown(), now.rejections), (("streaming", "current"), rejections));
    }
    assert_eq!(stage.said(), ["message-rejected"]);
    open.send(&identity);
    meanwhile().await;
    assert!(stage.now().rejected.is_none());
    assert_eq!(stage.said(), ["message-accepted"], "the same identity is not received twice");
    open.send_bytes(nothing());
    meanwhile().await;
    assert_eq!(stage.said(), ["message-rejected"]);
}

#[tokio::test(start_paused = true)]
async fn w20_of_messages_that_are_there_together_the_newest_counts_and_the_end_after_it_too() {
    let mut stage = Stage::new();
    let (old, new) = (svid(0, 3600), svid(1, 3600));
    let open = stage.call().await.serve(&old);
    open.send_bytes(nothing());
    open.send(&new);
    open.fail(status(Code::PermissionDenied));
    meanwhile().await;
    assert!(stage.holds(&new));
    assert_eq!(stage.shown(), ("not registered", "withdrawn"));
    assert_eq!(stage.said(), ["identity-received", "identity-withdrawn"]);
}

#[tokio::test(start_paused = true)]
async fn c02_an_identity_that_comes_before_its_time_is_asked_for_again_until_it_is_accepted() {
    let mut stage = Stage::new();
    let mut calls = 0;
    // Ten minutes, including the minute that two clocks may differ.
    let identity = svid(600, 3600);
    while !stage.holds(&identity) {
        let (call, pause) = stage.timed().await;
        assert!(pause <= limits::EARLY.1 + Duration::from_secs(1), "{pause:?}");
        calls += 1;
        assert!(calls <= 12, "{calls} calls");
        let open = call.serve(&identity);
        meanwhile().await;
        std::mem::forget(open);
    }
    assert!(calls >= 9, "{calls} calls");
    let said = ["message-rejected", "message-accepted", "identity-received"];
    assert_eq!(stage.said(), said);
    stage.undisturbed(Duration::from_secs(600)).await;
}

#[tokio::test(start_paused = true)]
async fn c02_an_identity_that_is_early_by_a_moment_is_asked_for_again_when_its_time_has_come() {
    let mut stage = Stage::new();
    // By two seconds or less: certificates only have whole seconds.
    let identity = svid(62, 3600);
    let open = stage.call().await.serve(&identity);
    let (call, pause) = stage.timed().await;
    assert!(open.is_left() && pause >= limits::EARLY.0, "{pause:?}");
    assert!(pause <= Duration::from_secs(2), "{pause:?}");
    let _open = call.serve(&identity);
    meanwhile().await;
    assert!(stage.holds(&identity));
}

#[tokio::test(start_paused = true)]
async fn c02_the_identity_stays_while_a_renewal_is_early_and_nothing_is_overdue() {
    let mut stage = Stage::new();
    let (identity, renewal) = (svid(0, 1000), svid(900, 1000));
    let mut open = stage.call().await.serve(&identity);
    meanwhile().await;
    open.send(&renewal);
    // It replaces a good one when it becomes valid, and not a minute before.
    for _ in 0..15 {
        let (call, pause) = stage.timed().await;
        assert!(open.is_left() && pause <= limits::EARLY.1 + limits::EARLY.0, "{pause:?}");
        assert!(stage.holds(&identity));
        open = call.serve(&renewal);
    }
    sleep(limits::EARLY.1).await;
    assert!(stage.holds(&renewal));
    let said = ["identity-received", "message-rejected", "message-accepted", "identity-received"];
    assert_eq!(stage.said(), said);
}

/// By less than the clocks may differ. OpenSSL allows no difference, so until then nobody could connect.
#[tokio::test(start_paused = true)]
async fn b55_an_identity_that_is_not_valid_yet_does_not_replace_a_good_one() {
    let mut stage = Stage::new();
    let (identity, renewal) = (svid(0, 1000), svid(50, 1000));
    let open = stage.call().await.serve(&identity);
    meanwhile().await;
    open.send(&renewal);
    meanwhile().await;
    assert!(stage.holds(&identity));
    let (call, pause) = stage.timed().await;
    assert!(pause <= Duration::from_secs(51), "{pause:?}");
    let _open = call.serve(&renewal);
    meanwhile().await;
    assert!(stage.holds(&renewal));
}

/// Without another identity it is better than nothing: clients' clocks may be ahead.
#[tokio::test(start_paused = true)]
async fn b55_the_first_identity_is_taken_though_it_is_not_valid_yet() {
    let mut stage = Stage::new();
    let identity = svid(50, 1000);
    let _open = stage.call().await.serve(&identity);
    meanwhile().await;
    assert!(stage.holds(&identity));
}

#[tokio::test(start_paused = true)]
async fn c03_an_expired_identity_stays_and_the_agents_repetition_of_it_is_rejected() {
    let mut stage = Stage::new();
    let identity = svid(0, 300);
    let open = stage.call().await.serve(&identity);
    sleep(Duration::from_secs(65)).await;
    leap(600);
    open.send_bytes(message(&identity));
    meanwhile().await;
    assert!(stage.holds(&identity));
    assert_eq!(stage.shown(), ("streaming", "current"));
    assert_eq!(stage.now().rejections, 1);
}
