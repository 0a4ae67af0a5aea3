use std::time::Duration;

use dev_agent::{Authority, Entry};
use test_support::checked;

use super::*;
use crate::consumers::client::{Dial, Host};
use crate::login::{Session, Verify, Versions};
use crate::timing;

fn settings(negotiation: Negotiation) -> ClientLogin {
    let host = Host { name: "db".to_owned(), dial: Dial::LookUp("db".to_owned()), port: 5432 };
    ClientLogin {
        name: "client".to_owned(),
        hosts: vec![host],
        role: "app".to_owned(),
        database: "products".to_owned(),
        parameters: Vec::new(),
        verify: Verify::Full,
        negotiation,
        versions: Versions::Both,
        target: TargetState::Primary,
        limit: Duration::from_secs(5),
        waits_for_ever: true,
        every: Duration::from_secs(300),
        readiness: false,
        follows_servers: false,
    }
}

fn end(outcome: Outcome) -> End {
    let (address, name) = ("db:5432".to_owned(), "db".to_owned());
    End { address, name, outcome, is_met: None, is_unresolved: false, is_without_route: false }
}

fn refusal(code: &str, routine: &str) -> Outcome {
    let [code, text, routine] = [code, "no", routine].map(str::to_owned);
    Outcome::LoginRefused(Refusal { code, text, routine })
}

#[test]
fn each_end_of_a_login_has_a_verdict_a_code_and_a_cause_or_a_remedy() {
    use AlertDescription::{CertificateRevoked, HandshakeFailure, InternalError, UnknownCA};
    let authority = Authority::new("example.org", false).unwrap();
    let svid = authority.issue(&Entry::new("spiffe://example.org/app").dns("app")).unwrap();
    let material = checked(&svid, timing::now());
    let text = || "why".to_owned();
    let request = settings(Negotiation::Request);
    let certificate = |alert| Outcome::NoCertificate(alert, text());
    for (outcome, verdict, code) in [
        (refusal("28000", "ClientAuthentication"), Verdict::Refused, Code::LoginRejected),
        (refusal("28000", "InitializeSessionUserId"), Verdict::Refused, Code::LoginRoleRefused),
        (refusal("28000", "auth_failed"), Verdict::Refused, Code::LoginNameRefused),
        (refusal("28P01", "auth_failed"), Verdict::Refused, Code::LoginRefused),
        (refusal("28000", ""), Verdict::Refused, Code::LoginRefused),
        (refusal("3D000", "InitPostgres"), Verdict::Refused, Code::DatabaseMissing),
        (refusal("42501", "CheckMyDatabase"), Verdict::Refused, Code::ConnectPrivilege),
        (refusal("08P01", ""), Verdict::Refused, Code::LoginRefused),
        (refusal("53300", "InitPostgres"), Verdict::Unavailable, Code::ConnectionSlots),
        (refusal("57P03", "ProcessStartupPacket"), Verdict::Unavailable, Code::PostgresqlStarting),
        (refusal("57P01", "ProcessInterrupts"), Verdict::Unavailable, Code::PostgresqlStarting),
        (refusal("53200", ""), Verdict::Unavailable, Code::SessionRefused),
        (Outcome::Busy, Verdict::Unavailable, Code::PostgresqlStarting),
        (Outcome::ConnectionLost(text()), Verdict::Unavailable, Code::SessionLost),
        (Outcome::Unreachable(text()), Verdict::Unreachable, Code::ServerUnreachable),
        (certificate(None), Verdict::Unreachable, Code::ServerUnreachable),
        (certificate(Some(InternalError)), Verdict::Unreachable, Code::ServerUnreachable),
        (certificate(Some(HandshakeFailure)), Verdict::Unverifiable, Code::ServerTlsUnspoken),
        (Outcome::Plaintext, Verdict::Plaintext, Code::ServerTlsOff),
        (Outcome::Alert(UnknownCA), Verdict::Refused, Code::LoginCertificateRefused),
        (Outcome::Alert(CertificateRevoked), Verdict::Refused, Code::LoginCertificateRefused),
        (Outcome::WrongCurve, Verdict::Refused, Code::ClientCertificatesRefused),
        (Outcome::Password, Verdict::PasswordAsked, Code::LoginPassword),
        (Outcome::OtherMethod, Verdict::PasswordAsked, Code::LoginOtherLine),
        (Outcome::Tls(text()), Verdict::ServerUntrusted, Code::ServerUntrusted),
        (Outcome::TooMuch, Verdict::ServerUntrusted, Code::NotPostgresql),
        (Outcome::NoDirectTls, Verdict::Refused, Code::LoginDirectTls),
        (Outcome::Untrusted(Distrust::Malformed), Verdict::ServerUntrusted, Code::ServerUntrusted),
    ] {
        let ended = end(outcome);
        let (found, finding) = explain(&request, &ended, &material);
        let finding = finding.unwrap();
        assert_eq!((found, finding.code), (verdict, code), "{:?}", ended.outcome);
        assert!(finding.fix.is_some() || verdict == Verdict::Unavailable, "{finding:?}");
        assert!(Verdict::OF_CLIENTS.contains(&found), "{found}");
    }
    let direct = settings(Negotiation::Direct);
    let (verdict, finding) = explain(&direct, &end(certificate(None)), &material);
    assert_eq!((verdict, finding.unwrap().code), (Verdict::Refused, Code::LoginDirectTls));
}

#[test]
fn a_session_in_another_state_is_no_admission() {
    let authority = Authority::new("example.org", false).unwrap();
    let svid = authority.issue(&Entry::new("spiffe://example.org/app").dns("app")).unwrap();
    let material = checked(&svid, timing::now());
    let request = settings(Negotiation::Request);
    for (is_met, verdict) in [
        (Some(true), Verdict::Admitted),
        (None, Verdict::Admitted),
        (Some(false), Verdict::Unavailable),
    ] {
        let ended = End { is_met, ..end(Outcome::LoggedIn(Session::default())) };
        let (found, finding) = explain(&request, &ended, &material);
        assert_eq!(found, verdict);
        assert_eq!(
            finding.map(|it| it.code),
            (is_met == Some(false)).then_some(Code::LoginSessionState)
        );
    }
}
