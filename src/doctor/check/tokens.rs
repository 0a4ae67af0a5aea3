//! JWT-SVIDs: whether the agent gives each token, whether its file can be written, and what is in it. Writes nothing.

use super::own_user::own_user;
use crate::config::Config;
use crate::doctor::codes;
use crate::doctor::finding::{Code, Finding, Group, Section};
use crate::material::Material;
use crate::publish::{Present, SingleFile};
use crate::source::workload_api::JwtClient;
use crate::timing;
use crate::tokens::{
    Bundle, Bundles, Claims, Failure, LEFT_OUT_FIX, Proof, Settings, SharedDirectory, Token,
    bundles, obtain,
};

/// The section, if there are tokens. `offered` is the identity that the agent offers.
pub(super) async fn section(config: &Config, offered: Option<&Material>) -> Option<Section> {
    let settings = config.tokens.as_ref()?;
    let mut section = Section::new(Group::Tokens, settings.endpoint.to_string());
    let client = JwtClient::new(settings.endpoint.clone());
    let (uid, _) = own_user(config);
    let spiffe_id = offered.and_then(Material::spiffe_id).map(ToString::to_string);
    let keys = match &spiffe_id {
        Some(spiffe_id) => Some(bundles(&client, spiffe_id).await),
        None => None,
    };
    if let (Some(Err(failure)), Some(_)) = (&keys, &settings.bundle) {
        section.add(failed(failure, "the agent gives no JWT bundle".to_owned()));
    }
    let keys = keys.and_then(Result::ok);
    for (domain, why) in keys.iter().flat_map(Bundles::dropped) {
        let domain = crate::text::shown(domain);
        let text =
            format!("the keys of the trust domain {domain} are left out: the JWT bundle {why}");
        section.add(Finding::warning(Code::JwtBundle, text).fix(LEFT_OUT_FIX));
    }
    for token in &settings.tokens {
        match &spiffe_id {
            Some(id) => section.extend(asked(&client, settings, token, id, keys.as_ref()).await),
            None => section.add(Finding::skipped(
                Code::JwtToken,
                format!(
                    "no token was asked for {}: the agent offers no identity",
                    token.audience.join(", ")
                ),
            )),
        }
        section.extend(place(&token.file, uid));
        section.extend(on_disk(token, uid, spiffe_id.as_deref(), keys.as_ref()));
    }
    if config.sandbox.enabled {
        let published = config.place.directory().map(|it| it.directory.as_path());
        let shared = settings.shared_directories(published);
        section.extend(shared.iter().map(SharedDirectory::finding));
    }
    if let Some(bundle) = &settings.bundle {
        if keys.is_some() {
            let file = bundle.file.path.display();
            let text = format!("the agent gives the JWT bundle for {file}");
            section.add(Finding::ok(Code::JwtBundle, text));
        }
        section.extend(place(&bundle.file, uid));
        let keys = keys.as_ref().zip(spiffe_id.as_deref());
        section.extend(bundle_on_disk(bundle, uid, keys));
    }
    Some(section)
}

async fn asked(
    client: &JwtClient,
    settings: &Settings,
    token: &Token,
    spiffe_id: &str,
    keys: Option<&Bundles>,
) -> Vec<Finding> {
    let audience = token.audience.join(", ");
    let hint = settings.hint.as_deref();
    let obtained = obtain(client, &token.audience, spiffe_id, hint, timing::now).await;
    let proven = obtained.and_then(|obtained| {
        let proof = match keys {
            Some(keys) => keys.verify(spiffe_id, &obtained.token, &obtained.claims)?,
            None => Proof::Unverified("the agent gives no JWT bundle".to_owned()),
        };
        Ok((obtained.claims, proof))
    });
    match proven {
        Err(failure) => vec![failed(&failure, format!("pgsvid gets no token for {audience}"))],
        Ok((claims, proof)) => {
            let left = claims.expires.duration_since(timing::now()).unwrap_or_default();
            let text = format!(
                "the agent gives a token for {audience}; it expires in {}",
                timing::roughly(left)
            );
            let mut found = vec![Finding::ok(Code::JwtToken, text)];
            if let Proof::Unverified(why) = proof {
                let text = format!("the signature of the token for {audience} is not verified");
                let fix = "see the agent's log; servers verify the signature themselves, and refuse the token if they have no other keys";
                found.push(Finding::warning(Code::JwtUnverified, text).cause(why).fix(fix));
            }
            found
        }
    }
}

fn failed(failure: &Failure, text: String) -> Finding {
    let code = match failure {
        Failure::Agent(error) if !error.is_unsupported() => codes::agent(error),
        _ => failure.code(),
    };
    Finding::failure(code, text).cause(failure.to_string()).fix(failure.fix())
}

/// Whether pgsvid may write the file there.
fn place(file: &SingleFile, uid: u32) -> Option<Finding> {
    let error = file.judge_for(uid).err()?;
    let path = file.path.display().to_string();
    let found = Finding::failure(Code::JwtFile, format!("{path} cannot be written: {error}"));
    let fix = error.fix_for(uid).unwrap_or_else(|| "choose another directory".to_owned());
    Some(found.about(path).fix(fix).command_if_any(error.command()))
}

/// What is in the file of the JWT bundle now, compared with the agent's keys for this SPIFFE ID.
fn bundle_on_disk(bundle: &Bundle, uid: u32, keys: Option<(&Bundles, &str)>) -> Option<Finding> {
    let path = bundle.file.path.display().to_string();
    let failure = |what: &str| {
        let found = Finding::failure(Code::JwtBundle, format!("{path} {what}")).about(&path);
        Some(found.fix("start pgsvid run, or see its log: it writes the file"))
    };
    let bytes = match bundle.file.read_for(uid) {
        Ok(Present::File(bytes)) => bytes,
        Ok(Present::Nothing) => {
            let text = format!("{path} does not exist yet: pgsvid run or fetch writes it");
            return Some(Finding::skipped(Code::JwtBundle, text).about(&path));
        }
        Ok(Present::Other(how)) => return failure(&how),
        // The finding about the place says it.
        Err(_) => return None,
    };
    let Some((keys, spiffe_id)) = keys else {
        let text =
            format!("whether {path} has the agent's keys: the agent gives none to compare with");
        return Some(Finding::skipped(Code::JwtBundle, text).about(&path));
    };
    // The finding about the agent's keys says it.
    if keys.are_in(&bytes, bundle.format, spiffe_id).ok()? {
        return Some(
            Finding::ok(Code::JwtBundle, format!("{path} has the agent's keys")).about(&path),
        );
    }
    failure(
        "has other keys than the agent: programs that read it accept tokens of another signer, or refuse those of the agent's",
    )
}

/// What is in the file now. `spiffe_id` is the identity that the agent offers.
fn on_disk(
    token: &Token,
    uid: u32,
    spiffe_id: Option<&str>,
    keys: Option<&Bundles>,
) -> Option<Finding> {
    let path = token.file.path.display().to_string();
    let failure = |code, what: &str| {
        let found = Finding::failure(code, format!("{path} {what}")).about(&path);
        Some(found.fix("start pgsvid run, or see its log: it writes the file"))
    };
    let bytes = match token.file.read_for(uid) {
        Ok(Present::File(bytes)) => bytes,
        Ok(Present::Nothing) => {
            let text = format!("{path} does not exist yet: pgsvid run or fetch writes it");
            return Some(Finding::skipped(Code::JwtFile, text).about(&path));
        }
        Ok(Present::Other(how)) => return failure(Code::JwtFile, &how),
        // The finding about the place says it.
        Err(_) => return None,
    };
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    let Ok(claims) = Claims::read(text) else {
        return failure(Code::JwtFile, "holds no token");
    };
    let now = timing::now();
    let Ok(left) = claims.expires.duration_since(now) else {
        let end = timing::utc(claims.expires);
        return failure(Code::JwtExpired, &format!("holds a token that has expired at {end}"));
    };
    let subject = spiffe_id.unwrap_or(&claims.subject);
    let proven = claims
        .check(subject, &token.audience, now)
        .and_then(|()| keys.map(|keys| keys.verify(subject, text, &claims)).transpose());
    if let Err(rejection) = proven {
        return failure(Code::JwtFile, &format!("holds a token that is not used: {rejection}"));
    }
    let text = format!(
        "{path} holds a token of {}, {} left",
        crate::text::shown(&claims.subject),
        timing::roughly(left)
    );
    Some(Finding::ok(Code::JwtFile, text).about(&path))
}
