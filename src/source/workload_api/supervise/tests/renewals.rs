//! Overdue renewals, and changes of the wall clock.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tonic::Code;

use super::fake::{Open, Stage, leap, meanwhile, nothing, refused, status, svid};
use crate::source::workload_api::limits;

const fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

/// Asserts that the next call comes within ten seconds after `wanted`, whatever `say` sends every minute, and that the
/// connection is closed by then.
async fn dialled_after(
    stage: &mut Stage,
    open: &Open,
    wanted: Duration,
    say: impl Fn(&Open),
) -> super::fake::Call {
    let begun = Instant::now();
    meanwhile().await;
    while !stage.is_calling() {
        assert!(begun.elapsed() <= wanted + seconds(10), "{:?}", begun.elapsed());
        say(open);
        sleep(seconds(1)).await;
    }
    assert!(open.is_left());
    let took = begun.elapsed();
    assert!(took + seconds(10) >= wanted, "{took:?} instead of {wanted:?}");
    stage.call().await
}

#[tokio::test(start_paused = true)]
async fn a56_pgsvid_reconnects_to_an_agent_that_does_not_renew_but_sends_other_messages() {
    let (identity, older) = (svid(10, 1000), svid(0, 5000));
    let what: [fn(&Open); 2] = [|_| {}, |open| open.send_bytes(nothing())];
    for say in what {
        let mut stage = Stage::new();
        let open = stage.call().await.serve(&identity);
        dialled_after(&mut stage, &open, seconds(707), say).await;
    }
    for repeated in [&identity, &older] {
        let mut stage = Stage::new();
        let open = stage.call().await.serve(&identity);
        let wanted = seconds(707);
        dialled_after(&mut stage, &open, wanted, |open| open.send(repeated)).await;
        let said = stage.said();
        assert_eq!(said.iter().filter(|name| *name == "agent-overdue").count(), 1, "{said:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a56_a_newer_identity_puts_the_renewal_of_the_older_one_off() {
    let mut stage = Stage::new();
    let open = stage.call().await.serve(&svid(0, 1000));
    sleep(seconds(500)).await;
    open.send(&svid(500, 1000));
    dialled_after(&mut stage, &open, seconds(700), |_| {}).await;
}

#[tokio::test(start_paused = true)]
async fn w08_a_broken_connection_neither_puts_off_a_renewal_nor_forgets_it() {
    let mut stage = Stage::new();
    let identity = svid(0, 1000);
    let open = stage.call().await.serve(&identity);
    sleep(seconds(350)).await;
    open.fail(refused());
    let open = stage.call().await.serve(&identity);
    dialled_after(&mut stage, &open, seconds(350), |_| {}).await;
}

#[tokio::test(start_paused = true)]
async fn w05_an_overdue_renewal_is_reported_once_and_pgsvid_reconnects_soon_before_the_end() {
    let mut stage = Stage::new();
    let identity = svid(0, 1000);
    let begun = Instant::now();
    let mut calls = 0;
    // Until it has expired, and for an hour after that.
    while begun.elapsed() < seconds(1000 + 3600) {
        let (call, pause) = stage.timed().await;
        assert!(calls == 0 || pause >= limits::WATCHDOG_SHORTEST, "{pause:?}");
        calls += 1;
        assert!(calls < 90, "{calls} calls in {:?}", begun.elapsed());
        std::mem::forget(call.serve(&identity));
    }
    assert!(calls >= 60, "{calls} calls");
    let said = stage.said();
    assert_eq!(said.iter().filter(|name| *name == "agent-overdue").count(), 1, "{said:?}");
    assert_eq!(said.iter().filter(|name| *name == "message-rejected").count(), 1, "{said:?}");
    assert!(stage.holds(&identity));

    // A late renewal that is itself not followed by another.
    let _open = stage.call().await.serve(&svid(4600, 1100));
    let (_call, pause) = stage.timed().await;
    assert!((680..780).contains(&pause.as_secs()), "{pause:?}");
    assert_eq!(stage.said(), ["message-accepted", "identity-received", "agent-overdue"]);
}

#[tokio::test(start_paused = true)]
async fn a63_pgsvid_reconnects_every_minute_to_an_agent_that_sends_nothing_acceptable() {
    let mut stage = Stage::new();
    for _ in 0..5 {
        let open = stage.call().await.answer(Some(nothing()));
        let wanted = limits::WATCHDOG_EXPIRED;
        let call = dialled_after(&mut stage, &open, wanted, |open| open.send_bytes(nothing()));
        let open = call.await.answer(Some(nothing()));
        meanwhile().await;
        drop(open);
    }
    assert_eq!(stage.shown().1, "waiting");
    assert_eq!(stage.said(), ["message-rejected"]);
}

#[tokio::test(start_paused = true)]
async fn w10_nothing_is_overdue_while_the_identity_is_withdrawn() {
    let mut stage = Stage::new();
    let open = stage.call().await.serve(&svid(0, 1000));
    meanwhile().await;
    open.fail(status(Code::PermissionDenied));
    for _ in 0..300 {
        stage.call().await.fail(status(Code::PermissionDenied));
    }
    let _call = stage.call().await;
    assert!(!stage.said().contains(&"agent-overdue".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn c01_c04_when_the_clock_is_set_pgsvid_reconnects_to_the_agent_and_recounts_renewals() {
    for (ahead, next) in [(500, 336), (-50, 721), (2000, 60)] {
        let mut stage = Stage::new();
        let identity = svid(0, 1000);
        let open = stage.call().await.serve(&identity);
        meanwhile().await;
        stage.said();
        leap(ahead);
        // If the kernel does not report changes, the clocks are compared every twenty seconds.
        let (call, pause) = stage.timed().await;
        assert!(open.is_left() && pause <= seconds(20), "{pause:?}");
        assert_eq!(stage.said(), ["clock-changed"]);
        let open = call.serve(&identity);
        dialled_after(&mut stage, &open, seconds(next), |_| {}).await;
        assert!(stage.holds(&identity));
        let said = stage.said();
        assert_eq!(said.iter().filter(|name| *name == "clock-changed").count(), 0, "{said:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn c04_a_clock_that_is_set_while_there_is_no_connection_ends_none_and_makes_the_renewal_due()
{
    let mut stage = Stage::new();
    let identity = svid(0, 3000);
    let open = stage.call().await.serve(&identity);
    meanwhile().await;
    open.fail(refused());
    let call = stage.call().await;
    // The machine has slept: the identity has expired, and the agent has no other one.
    leap(3 * 3600);
    let open = call.serve(&identity);
    dialled_after(&mut stage, &open, limits::WATCHDOG_EXPIRED, |_| {}).await;
    assert!(!stage.said().contains(&"clock-changed".to_owned()));
}
