//! Opens connections through the pool until SIGTERM, and prints how many queries succeeded and how many failed.

mod pool;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

static STOP: AtomicBool = AtomicBool::new(false);
static QUERIES: AtomicU64 = AtomicU64::new(0);
static FAILED: AtomicU64 = AtomicU64::new(0);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut term = signal(SignalKind::terminate())?;
    let pool = pool::open_pool(std::env::var("FILES")?.into(), Duration::from_millis(50))?;
    let workers: Vec<_> = (0..4).map(|_| tokio::spawn(work(pool.clone()))).collect();
    term.recv().await;
    STOP.store(true, Relaxed);
    for worker in workers {
        worker.await?;
    }
    println!("queries={} failed={}", QUERIES.load(Relaxed), FAILED.load(Relaxed));
    Ok(())
}

async fn work(pool: sqlx::PgPool) {
    while !STOP.load(Relaxed) {
        match sqlx::query("SELECT 1").execute(&pool).await {
            Ok(_) => QUERIES.fetch_add(1, Relaxed),
            Err(error) => {
                eprintln!("failed: {error:?}");
                FAILED.fetch_add(1, Relaxed)
            }
        };
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
