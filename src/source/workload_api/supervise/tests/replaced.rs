//! Another socket in the agent's place: it is dialled, but not endlessly.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tonic::Code;

use super::fake::{Stage, meanwhile, refused, status, svid};
use crate::source::workload_api::limits;

/// A little more, because timers round.
const ROUNDING: Duration = Duration::from_millis(3);

#[tokio::test(start_paused = true)]
async fn a87_pgsvid_connects_to_an_agent_that_replaces_another_and_keeps_the_identity_meanwhile() {
    let mut stage = Stage::new();
    let (old, new) = (svid(0, 3600), svid(1, 3600));
    let open = stage.call().await.serve(&old);
    meanwhile().await;
    stage.said();
    stage.replace_socket();
    let (call, pause) = stage.timed().await;
    assert!(pause <= limits::REPLACED.0 + ROUNDING && open.is_left(), "{pause:?}");
    assert_eq!(stage.said(), ["agent-replaced"]);
    assert_eq!(stage.shown(), ("streaming", "current"));
    assert!(stage.holds(&old));
    // An identity that is not valid yet would have to wait.
    tokio::time::advance(Duration::from_secs(1)).await;
    let _open = call.serve(&new);
    meanwhile().await;
    assert!(stage.holds(&new));
    stage.undisturbed(Duration::from_secs(1800)).await;
}

#[tokio::test(start_paused = true)]
async fn w06_another_socket_cuts_every_pause_short() {
    let identity = svid(0, 3600);
    for code in [Code::Unavailable, Code::PermissionDenied, Code::Unimplemented] {
        let mut stage = Stage::new();
        let open = stage.call().await.serve(&identity);
        meanwhile().await;
        drop(open);
        for _ in 0..8 {
            stage.call().await.fail(status(code));
        }
        meanwhile().await;
        stage.replace_socket();
        let (_call, pause) = stage.timed().await;
        assert!(pause <= limits::ANOTHER_SOCKET.0 + ROUNDING, "{code:?}: {pause:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a87_pgsvid_connects_less_and_less_often_to_an_agent_with_a_socket_for_each_connection() {
    let mut stage = Stage::new();
    let identity = svid(0, 20 * 3600);
    let begun = Instant::now();
    let mut calls = 0;
    while begun.elapsed() < Duration::from_secs(3600) {
        let open = stage.call().await.serve(&identity);
        meanwhile().await;
        stage.replace_socket();
        calls += 1;
        assert!(calls < 60, "{calls} connections in {:?}", begun.elapsed());
        std::mem::forget(open);
    }
}

#[tokio::test(start_paused = true)]
async fn a87_pgsvid_connects_less_and_less_often_to_failing_sockets_that_are_replaced_each_time() {
    let mut stage = Stage::new();
    let begun = Instant::now();
    let mut calls = 0;
    while begun.elapsed() < Duration::from_secs(600) {
        stage.call().await.fail(refused());
        meanwhile().await;
        stage.replace_socket();
        calls += 1;
        assert!(calls < 600, "{calls} connections in {:?}", begun.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a87_tries_that_failed_do_not_keep_a_connection_whose_agent_is_replaced() {
    for _ in 0..5 {
        let mut stage = Stage::new();
        for _ in 0..30 {
            stage.call().await.fail(refused());
        }
        let _open = stage.call().await.serve(&svid(0, 20 * 3600));
        meanwhile().await;
        stage.replace_socket();
        let (_call, pause) = stage.timed().await;
        assert!(pause <= limits::REPLACED.0 + ROUNDING, "{pause:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a87_an_agent_that_is_replaced_now_and_then_is_left_as_soon_as_the_first_time() {
    let mut stage = Stage::new();
    let identity = svid(0, 20 * 3600);
    let mut call = stage.call().await;
    for time in 0..20 {
        let _old = call.serve(&identity);
        sleep(limits::CALM * 5).await;
        stage.replace_socket();
        let _new = stage.call().await.serve(&identity);
        meanwhile().await;
        stage.replace_socket();
        let pause;
        (call, pause) = stage.timed().await;
        assert!(pause <= limits::REPLACED.0 * 2 + ROUNDING, "time {time}: {pause:?}");
    }
}
