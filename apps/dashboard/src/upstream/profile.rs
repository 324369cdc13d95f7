//! The profiles, from SQLite.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use failfast::policy::Fault;
use failfast::{BoxError, Context, Source as _, SourceExt as _};
use futures::FutureExt as _;
use futures::channel::oneshot;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection, SqlitePool};

use super::ServiceError;
use super::service::{Work, number};

const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS profile (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    city TEXT NOT NULL
)";

/// The users that a new database begins with, numbered from 1.
const SEED: [(&str, &str); 8] = [
    ("Ada", "London"),
    ("Barbara", "Boston"),
    ("Claude", "Paris"),
    ("Donald", "Stanford"),
    ("Edsger", "Rotterdam"),
    ("Frances", "Peru, New York"),
    ("Alice", "Lisbon"),
    ("Hedy", "Vienna"),
];

const CONNECTIONS: u32 = 4;

/// SQLite's file system in memory, whose databases live for as long as a connection is open. Unlike a shared cache,
/// in which connections were seen to wait for each other's locks for seconds, it locks as a file does.
const IN_MEMORY: &str = "memdb";

/// A source of rows by number, boxed because a policy's type can't be written down.
type Find =
    Box<dyn Fn(Context, i64) -> BoxFuture<'static, Result<Option<Row>, Fault>> + Send + Sync>;

type Row = (String, String);

/// One user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// The user's name.
    pub name: String,
    /// Where the user lives.
    pub city: String,
}

pub(super) struct Profiles {
    find: Find,
    /// Keeps a database in memory alive, because the pool may close each of its connections.
    _anchor: SqliteConnection,
}

impl Profiles {
    /// Opens the database, and seeds it if it is new.
    pub(super) async fn open(path: Option<&Path>) -> Result<Self, BoxError> {
        let opened = Self::connect(path).await;
        opened.map_err(|error| match path {
            Some(path) => format!("can't open the database {}: {error}", path.display()).into(),
            None => format!("can't open a database in memory: {error}").into(),
        })
    }

    async fn connect(path: Option<&Path>) -> Result<Self, sqlx::Error> {
        let options = match path {
            Some(path) => SqliteConnectOptions::new().filename(path),
            None => in_memory(),
        };
        let options = options.create_if_missing(true);
        let mut anchor = options.connect().await?;
        seed(&mut anchor).await?;
        let pool = SqlitePoolOptions::new()
            .max_connections(CONNECTIONS)
            .min_connections(CONNECTIONS)
            .connect_with(options)
            .await?;
        Ok(Self {
            find: find_in(pool),
            _anchor: anchor,
        })
    }
}

/// A database of its own, because each has another name. The slash makes it visible to several connections.
fn in_memory() -> SqliteConnectOptions {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let name = format!("/profiles-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    SqliteConnectOptions::new().filename(name).vfs(IN_MEMORY)
}

/// One transaction, so that an interrupted start leaves no half of the table behind.
async fn seed(database: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let mut transaction = database.begin().await?;
    sqlx::query(SCHEMA).execute(&mut *transaction).await?;
    let (known,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM profile")
        .fetch_one(&mut *transaction)
        .await?;
    if known == 0 {
        for (name, city) in SEED {
            let insert = sqlx::query("INSERT INTO profile (name, city) VALUES (?, ?)");
            insert
                .bind(name)
                .bind(city)
                .execute(&mut *transaction)
                .await?;
        }
    }
    transaction.commit().await
}

impl Work for Profiles {
    type Answer = Profile;

    async fn work(&self, ctx: &Context, key: &str) -> Result<Profile, ServiceError> {
        let unknown = || ServiceError::NotFound(format!("there is no user {key}"));
        // SQLite's integers are signed.
        let id = i64::try_from(number(key)?).map_err(|_| unknown())?;
        let found = ctx.run((self.find)(ctx.clone(), id)).await?;
        let found =
            found.map_err(|error| ServiceError::Failed(format!("the database: {error}")))?;
        let (name, city) = found.ok_or_else(unknown)?;
        Ok(Profile { name, city })
    }
}

/// Requests for the same user at the same time share one query.
fn find_in(pool: SqlitePool) -> Find {
    let shared = (move |_: Context, id: i64| query(pool.clone(), id)).coalesce();
    Box::new(move |ctx, id| shared.fetch(ctx, id).boxed())
}

/// Runs the query to its end even if this future is dropped, because a query that is dropped halfway costs the pool its
/// connection, and those that wait for one a new connection.
async fn query(pool: SqlitePool, id: i64) -> Result<Option<Row>, sqlx::Error> {
    let (sender, answer) = oneshot::channel();
    let query = async move {
        let query = sqlx::query_as("SELECT name, city FROM profile WHERE id = ?").bind(id);
        // An error means that the caller has left.
        let _ = sender.send(query.fetch_optional(&pool).await);
    };
    smol::spawn(query).detach();
    answer.await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::future::{join_all, select};
    use std::pin::pin;
    use std::time::Duration;

    #[test]
    fn a_database_is_seeded_once() {
        let path = std::env::temp_dir().join(format!("dashboard-seed-{}.db", std::process::id()));
        let _ = std::fs::remove_file(&path);
        smol::block_on(async {
            for _ in 0..2 {
                let profiles = Profiles::open(Some(&path)).await.unwrap();
                let ctx = Context::background();
                let last = profiles.work(&ctx, "8").await.unwrap();
                assert_eq!(last.name, "Hedy");
                let none = profiles.work(&ctx, "9").await.unwrap_err();
                assert!(matches!(none, ServiceError::NotFound(_)), "{none:?}");
            }
        });
        std::fs::remove_file(&path).unwrap();
    }

    /// However far it had come: 8 at a time, more than there are connections, are dropped after 0 to 499 µs.
    #[test]
    fn a_query_that_is_dropped_harms_no_other() {
        smol::block_on(async {
            let profiles = Profiles::open(None).await.unwrap();
            let ctx = Context::background();
            for micros in 0..500 {
                let queries = join_all((0..8).map(|_| profiles.work(&ctx, "7")));
                let cut = smol::Timer::after(Duration::from_micros(micros));
                drop(select(pin!(queries), cut).await);
                assert_eq!(profiles.work(&ctx, "7").await.unwrap().name, "Alice");
            }
        });
    }

    #[test]
    fn a_user_that_is_none_is_not_found_and_a_key_that_is_none_is_malformed() {
        smol::block_on(async {
            let profiles = Profiles::open(None).await.unwrap();
            let ctx = Context::background();
            for unknown in ["0", "9", "18446744073709551615"] {
                let error = profiles.work(&ctx, unknown).await.unwrap_err();
                assert!(matches!(error, ServiceError::NotFound(_)), "{error:?}");
            }
            for malformed in ["", "seven", "-1", "1'--", "18446744073709551616"] {
                let error = profiles.work(&ctx, malformed).await.unwrap_err();
                assert!(matches!(error, ServiceError::Malformed(_)), "{error:?}");
            }
        });
    }
}
