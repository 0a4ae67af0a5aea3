//! How connections fail, how soon the next one is opened, and what is logged.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tonic::Code;

use super::fake::{Stage, meanwhile, refused, status, svid};
use crate::source::workload_api::error::Error;
use crate::source::workload_api::{Connection, Source, limits};

/// Attempts until the back-off has reached its longest pause.
const TRIES: u32 = 12;

/// A little more, because timers round.
const ROUNDING: Duration = Duration::from_millis(2);

/// The longest pause before the next connection over some attempts that fail in this way, each within its ceiling.
async fn longest(
    stage: &mut Stage,
    (first, longest): (Duration, Duration),
    fail: impl AsyncFn(&mut Stage),
) -> Duration {
    let mut most = Duration::ZERO;
    for tries in 0..TRIES {
        fail(stage).await;
        let begun = Instant::now();
        while !stage.is_calling() {
            meanwhile().await;
        }
        let ceiling = first.saturating_mul(2u32.pow(tries)).min(longest) + ROUNDING;
        assert!(begun.elapsed() <= ceiling, "try {tries}: {:?}", begun.elapsed());
        most = most.max(begun.elapsed());
    }
    most
}

#[tokio::test(start_paused = true)]
async fn w02_failures_are_retried_less_and_less_soon_and_reported_once() {
    let mut stage = Stage::new();
    let most = longest(&mut stage, limits::BACKOFF, async |stage| {
        stage.call().await.fail(refused());
        meanwhile().await;
        assert_eq!(stage.shown(), ("failed", "waiting"));
    });
    assert!(most.await > limits::BACKOFF.0 * 4);
    assert_eq!(stage.said(), ["agent-disconnected"]);

    // A connection that lasts is a success: after it the back-off starts over, and faults are reported again.
    let open = stage.call().await.serve(&svid(0, 3600));
    sleep(limits::HELD).await;
    assert_eq!(stage.said(), ["agent-connected", "identity-received"]);
    open.fail(refused());
    let (call, pause) = stage.timed().await;
    assert!(pause <= limits::BACKOFF.0 + ROUNDING, "{pause:?}");
    assert_eq!(stage.said(), ["agent-disconnected"]);
    assert_eq!(stage.shown(), ("failed", "current"));
    call.fail(refused());
    stage.call().await.fail(status(Code::Unavailable));
    let _call = stage.call().await;
    assert_eq!(stage.said(), ["agent-disconnected"], "another fault is said");
}

#[tokio::test(start_paused = true)]
async fn faults_that_alternate_are_reported_once_each() {
    let mut stage = Stage::new();
    for _ in 0..10 {
        stage.call().await.fail(refused());
        stage.call().await.fail(status(Code::PermissionDenied));
        stage.call().await.fail(status(Code::Unavailable));
    }
    let _call = stage.call().await;
    assert_eq!(stage.said(), ["agent-disconnected", "not-registered", "agent-disconnected"]);
}

#[tokio::test(start_paused = true)]
async fn w07_a_stream_that_ends_within_a_moment_is_no_success() {
    for in_order in [true, false] {
        let mut stage = Stage::new();
        let most = longest(&mut stage, limits::BACKOFF, async |stage| {
            let open = stage.call().await.serve(&svid(0, 3600));
            meanwhile().await;
            if !in_order {
                open.fail(refused());
            }
            meanwhile().await;
        });
        assert!(most.await > limits::BACKOFF.0 * 4, "in order: {in_order}");
    }
}

#[tokio::test(start_paused = true)]
async fn w07_a_stream_that_has_lasted_and_ends_in_order_is_opened_again_at_once_and_in_silence() {
    let mut stage = Stage::new();
    let identity = svid(0, 3600);
    for connects in 1..=5 {
        let (call, pause) = stage.timed().await;
        assert!(pause <= ROUNDING, "{pause:?}");
        let open = call.serve(&identity);
        sleep(limits::HELD).await;
        assert_eq!(stage.now().agent().unwrap().connects, connects);
        drop(open);
    }
    assert_eq!(stage.said(), ["identity-received"]);
    assert_eq!(stage.shown(), ("streaming", "current"));
}

/// An agent under load takes time for each refusal, and must not be asked more often because of that.
#[tokio::test(start_paused = true)]
async fn w09_w11_an_answer_that_takes_long_is_no_stream_that_has_lasted() {
    for (code, limits) in
        [(Code::Unavailable, limits::BACKOFF), (Code::PermissionDenied, limits::UNREGISTERED)]
    {
        let mut stage = Stage::new();
        let most = longest(&mut stage, limits, async |stage| {
            let call = stage.call().await;
            sleep(Duration::from_secs(3)).await;
            call.fail(status(code));
            meanwhile().await;
        });
        let most = most.await;
        assert!(most > limits.0 * 2, "{code:?}: {most:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn w03_pgsvid_gives_up_on_a_silent_agent_and_connects_again() {
    let mut stage = Stage::new();
    for _ in 0..3 {
        let call = stage.call().await;
        sleep(limits::FIRST_MESSAGE.saturating_sub(ROUNDING)).await;
        assert!(!call.is_given_up());
        sleep(ROUNDING * 2).await;
        assert!(call.is_given_up());
        let Some(Connection::Failed(error)) = stage.now().connection().cloned() else { panic!() };
        assert!(matches!(*error, Error::Silent(_)), "{error}");
    }
    assert_eq!(stage.said(), ["agent-disconnected"]);
}

#[tokio::test(start_paused = true)]
async fn w07_an_agent_that_ends_the_stream_without_a_message_is_no_connection() {
    let mut stage = Stage::new();
    let most = longest(&mut stage, limits::BACKOFF, async |stage| {
        drop(stage.call().await.answer(None));
        meanwhile().await;
    });
    assert!(most.await > limits::BACKOFF.0 * 4);
    let now = stage.now();
    assert_eq!(now.agent().unwrap().connects, 0);
    assert!(
        matches!(now.connection(), Some(Connection::Failed(error)) if matches!(**error, Error::Empty))
    );
    assert_eq!(stage.said(), ["agent-disconnected"]);
}

#[tokio::test(start_paused = true)]
async fn w09_an_unregistered_workload_asks_slowly_and_says_so_once() {
    let mut stage = Stage::new();
    let most = longest(&mut stage, limits::UNREGISTERED, async |stage| {
        stage.call().await.fail(status(Code::PermissionDenied));
        meanwhile().await;
        assert_eq!(stage.shown(), ("not registered", "waiting"));
    });
    assert!(most.await > limits::UNREGISTERED.0 * 2);
    assert_eq!(stage.said(), ["not-registered"]);
    let _open = stage.call().await.serve(&svid(0, 3600));
    meanwhile().await;
    assert_eq!(stage.said(), ["agent-connected", "identity-received"]);
    assert_eq!(stage.shown(), ("streaming", "current"));
}

#[tokio::test(start_paused = true)]
async fn w12_a_first_request_that_is_called_invalid_ends_the_program() {
    for code in [Code::InvalidArgument, Code::Unimplemented] {
        let mut stage = Stage::new();
        // An earlier refused connection is not an answer to a request.
        stage.call().await.fail(refused());
        stage.call().await.fail(status(code));
        let ended = stage.ended().await;
        assert!(matches!(ended, Err(Error::Answered { code: found, .. }) if found == code));
    }
}

#[tokio::test(start_paused = true)]
async fn w12_a_later_request_that_is_called_invalid_is_repeated_slowly_and_reported_once() {
    type Before = fn(&mut Source);
    let cases: [(&str, Before, Option<Code>); 3] = [
        ("told to persist", Source::persist, None),
        ("not registered before", |_| {}, Some(Code::PermissionDenied)),
        ("served before", |_| {}, Some(Code::Ok)),
    ];
    for (what, change, before) in cases {
        let mut stage = Stage::with(change);
        match before {
            None => {}
            // Two days, so that nothing is about to expire.
            Some(Code::Ok) => {
                let open = stage.call().await.serve(&svid(0, 20 * 3600));
                meanwhile().await;
                open.fail(refused());
            }
            Some(code) => stage.call().await.fail(status(code)),
        }
        let mut call = stage.call().await;
        stage.said();
        let identity = stage.shown().1;
        for _ in 0..5 {
            call.fail(status(Code::Unimplemented));
            let pause;
            (call, pause) = stage.timed().await;
            assert!(pause >= limits::PERMANENT, "{what}: {pause:?}");
            assert!(pause <= limits::PERMANENT + ROUNDING, "{what}: {pause:?}");
            assert_eq!(stage.shown(), ("failed", identity), "{what}");
        }
        assert_eq!(stage.said(), ["agent-refused"], "{what}");
        let _open = call.serve(&svid(0, 3600));
        meanwhile().await;
        assert_eq!(stage.shown(), ("streaming", "current"), "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a60_a_request_that_is_called_invalid_is_repeated_before_the_identity_expires() {
    let mut stage = Stage::new();
    let open = stage.call().await.serve(&svid(0, 100));
    meanwhile().await;
    open.fail(status(Code::InvalidArgument));
    let (_call, pause) = stage.timed().await;
    assert!((60..=70).contains(&pause.as_secs()), "{pause:?}");
}

#[tokio::test(start_paused = true)]
async fn w12_no_other_error_ends_the_program() {
    let at = || "unix:///nowhere/agent.sock".to_owned();
    let io = std::io::Error::other("on purpose");
    let mut errors = vec![
        Error::NoSocket(at().into()),
        Error::NotASocket(at().into()),
        Error::Refused(at()),
        Error::Forbidden(at(), 7),
        Error::Connect(at(), io),
        Error::NotGrpc(at()),
        Error::Broken(at(), at()),
        Error::Garbled(at(), at()),
        Error::Silent(Duration::ZERO),
        Error::Overdue,
        Error::Empty,
    ];
    for code in (0..=16).map(Code::from) {
        errors.push(Error::Failed { code, text: String::new() });
        if !matches!(code, Code::InvalidArgument | Code::Unimplemented) {
            errors.push(status(code));
        }
    }
    let mut stage = Stage::new();
    for error in errors {
        stage.call().await.fail(error);
    }
    let _call = stage.call().await;
    assert!(stage.is_running());
}
