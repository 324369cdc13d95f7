//! The body of `run` returns `Result<_, BoxError>`: `.err_into()` makes it one.

use failfast::Group;

async fn page() -> Result<String, std::io::Error> {
    Ok(String::new())
}

fn main() {
    let group = Group::<()>::new(smol::spawn);
    drop(group.run(page()));
}
