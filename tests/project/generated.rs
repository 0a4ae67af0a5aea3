//! Parts of pages that come from the code: each stands between two comments that name it.

use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Several tests write parts of the same page.
static WRITING: Mutex<()> = Mutex::new(());

/// Asserts that the part `name` of `page` is `text`. With `PGSVID_WRITE_DOCS` in the environment it writes the part
/// instead.
#[track_caller]
pub(crate) fn is_current(page: &str, name: &str, text: &str) {
    changed(page, |before| {
        let (begin, end) = (format!("<!-- {name}: begin -->\n"), format!("<!-- {name}: end -->\n"));
        let (head, rest) =
            before.split_once(&begin).unwrap_or_else(|| panic!("{page} lacks {begin}"));
        let (_, tail) = rest.split_once(&end).unwrap_or_else(|| panic!("{page} lacks {end}"));
        format!("{head}{begin}{text}{end}{tail}")
    });
}

/// Asserts that the page is what `wanted` makes of it. With `PGSVID_WRITE_DOCS` in the environment it writes the page
/// instead.
#[track_caller]
pub(crate) fn changed(page: &str, wanted: impl FnOnce(&str) -> String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
    let _guard = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    let before = std::fs::read_to_string(&path).unwrap();
    let wanted = wanted(&before);
    if std::env::var_os("PGSVID_WRITE_DOCS").is_some() {
        std::fs::File::create(&path).unwrap().write_all(wanted.as_bytes()).unwrap();
        return;
    }
    if before == wanted {
        return;
    }
    let differs = before.lines().zip(wanted.lines()).find(|(is, should)| is != should);
    panic!("{page} is stale: PGSVID_WRITE_DOCS=1 cargo test --test project; first: {differs:?}");
}
