//! What users may write, and must compile as it stands: nothing here runs.
#![allow(unused, clippy::all)]
use failfast::{*, observe::*, policy::*};
use std::{sync::Arc, rc::Rc, time::Duration};
type UserId = u64;
struct Profile; struct Orders; struct Page(String);
async fn profile(_: Context, _: UserId) -> Result<String, std::io::Error> { todo!() }
async fn orders(_: Context, _: UserId) -> Result<u32, std::fmt::Error> { todo!() }
async fn ads(_: Context, _: UserId) -> Result<&'static str, BoxError> { todo!() }
struct App { dashboard: Aggregator<UserId, (String, u32)>, page: Aggregator<UserId, Page>, line: Aggregator<UserId, String>, conns: Group<()>, shards: Aggregator<UserId, Vec<u32>> }
fn app() -> App {
    let dashboard = Aggregator::new(smol::spawn).with_timeout(Duration::from_secs(1)).source("profile", profile).source("orders", orders);
    App {
        line: dashboard.clone().join(" | "),
        page: dashboard.clone().map(|(name, n)| Page(format!("{name} {n}"))),
        dashboard,
        conns: Group::new(smol::spawn),
        shards: Aggregator::new(tokio::spawn).sources((0..3).map(|n| (format!("shard {n}"), orders))),
    }
}
async fn policies(ctx: &Context) -> Result<(), Error> {
    let a = Aggregator::new(smol::spawn)
        .source("profile", profile.timeout(Duration::from_millis(300)).retry(Retry::times(2).when(|e: &std::io::Error| e.kind() == std::io::ErrorKind::Other)))
        .source("orders", orders.retry(Retry::times(2)).fallback(|_, _| async { Ok::<_, BoxError>(0) }))
        .source("ads", ads.optional());
    let (p, o, ads): (String, u32, Option<&'static str>) = a.aggregate(ctx, 7).await?;
    let nested = Aggregator::new(smol::spawn).source("user", a.map(|(p, _, _)| p).retry(Retry::times(1))).source("closure", |_: Context, id: UserId| async move { Ok::<_, BoxError>(id) });
    let (p, id): (String, u64) = nested.aggregate(ctx, 7).await?;
    let shared = Arc::new(5u32);
    let c = Aggregator::new(smol::spawn).source("c", move |ctx: Context, id: UserId| { let shared = shared.clone(); async move { Ok::<_, BoxError>(*shared) } });
    let (x,) = c.aggregate(ctx, 1).await?;
    Ok(())
}
async fn forks(ctx: &Context, id: u64) -> Result<String, Error> {
    let (group, ctx) = Group::<()>::with_context(ctx, smol::spawn);
    let name = group.fork("profile", profile(ctx.clone(), id));
    let count = group.fork("orders", orders(ctx.clone(), id));
    group.run(async { Ok(format!("{} | {}", name.await?, count.await?)) }).await
}
async fn infer(ctx: &Context) -> Result<(), Error> {
    let (group, ctx) = Group::with_context(ctx, smol::spawn);
    for n in 0..3u32 { group.spawn(orders(ctx.clone(), n as u64)); }
    let v: Vec<u32> = group.wait().await?;
    let mut g = Group::new(tokio::spawn);
    g.spawn(async { Ok::<_, &str>(1) });
    while let Some(r) = g.next().await { let _: i32 = r?; }
    Ok(())
}
async fn borrowing(ctx: &Context, lines: &[String]) -> Result<usize, Error> {
    let group = InPlaceGroup::new(ctx);
    for line in lines { group.spawn(async move { Ok::<_, BoxError>(line.len()) }); }
    Ok(group.wait().await?.into_iter().sum())
}
async fn borrowing_mut(ctx: &Context, buffers: &mut [Vec<u8>]) -> Result<(), Error> {
    let group = InPlaceGroup::new(ctx);
    for b in buffers.iter_mut() { group.spawn(async move { b.push(1); Ok::<_, BoxError>(()) }); }
    group.wait().await?;
    buffers[0].clear();
    Ok(())
}
async fn borrowing_local(ctx: &Context, lines: &[Rc<str>]) -> Result<usize, Error> {
    let total = std::cell::Cell::new(0); // before the group, which has a `Drop`
    let group = LocalInPlaceGroup::new(ctx);
    let a = group.fork("a", async { total.set(lines.len()); Ok::<_, BoxError>(1usize) });
    group.spawn(async { Ok::<_, BoxError>(()) });
    let n = group.run(async { Ok(a.await?) }).await?;
    Ok(n + total.get())
}
fn is_send<T: Send>(t: T) -> T { t }
fn sends() {
    let ctx = Context::background();
    let lines = vec![String::new()];
    is_send(borrowing(&ctx, &lines));
    is_send(forks(&ctx, 1));
    is_send(policies(&ctx));
    let a = app();
    is_send(a.page.aggregate(&ctx, 7));
    fn sync<T: Sync + Send>() {} sync::<Task>(); sync::<Aggregator<u8, Rc<u8>>>(); sync::<Group<u8>>(); sync::<Group<std::cell::Cell<u8>>>(); sync::<GroupHandle<std::cell::Cell<u8>>>(); sync::<Fork<std::cell::Cell<u8>>>();
}
fn spawners() {
    Group::<()>::new(smol::spawn); Group::<()>::new(tokio::spawn); Group::<()>::new(async_std::task::spawn);
    let ex = Arc::new(smol::Executor::new());
    Group::<()>::new(move |t| ex.spawn(t));
    let pool = futures::executor::ThreadPool::new().unwrap();
    Group::<()>::new(move |t| pool.spawn_ok(t));
    LocalGroup::<()>::new(tokio::task::spawn_local);
    let ex = Rc::new(smol::LocalExecutor::new());
    LocalGroup::<()>::new(move |t| ex.spawn(t).detach());
    let h = tokio::runtime::Handle::current();
    Group::<()>::new(move |t| h.spawn(t));
    Group::<()>::new(Arc::new(smol::spawn::<()>) as Arc<dyn Spawn<Task, Handle = smol::Task<()>> + Send + Sync>);
    fn generic<S>(s: S) -> Group<u8> where S: Spawn + Send + Sync + 'static, S::Handle: Send + 'static { Group::new(s) }
    generic(smol::spawn);
}
async fn the_rest(ctx: &Context) -> Result<(), BoxError> {
    // contexts
    let (request, canceller) = ctx.with_cancel();
    let also = canceller.clone();
    let paused = request.with_clock((|| tokio::time::Instant::now().into_std(), tokio::time::sleep)).with_timeout(Duration::from_secs(1));
    let own = request.with_clock(smol::Timer::after);
    paused.check()?;
    paused.sleep(Duration::from_secs(1)).await?;
    let text: String = paused.try_run(async { Ok::<_, std::io::Error>(String::new()) }).await?;
    let committed: u8 = paused.shield(async { 5 }).await;
    let why: Option<&Cause> = paused.err().as_ref().map(ContextError::cause);
    // groups
    let (group, ctx) = Group::<u32>::with_context(&request, smol::spawn);
    let handle: GroupHandle<u32> = group.handle();
    handle.spawn_background(async { Ok::<_, BoxError>(()) }).ok();
    let (inside, snapshot) = (handle.clone(), handle.snapshot().to_json());
    group.spawn(async move {
        let child = inside.fork("child", async { Ok::<_, BoxError>("seven") });
        Ok::<_, BoxError>(child.await?.len() as u32)
    });
    handle.stop();
    let numbers = group.wait().await?;
    use futures::StreamExt as _;
    let mut pages = Group::new(smol::spawn).with_limit(4.try_into().unwrap()).ordered(0..10u32, |n| async move { Ok::<_, BoxError>(n) });
    while let Some(page) = pages.next().await { let _: u32 = page?; }
    // errors
    let error = Group::<()>::new(smol::spawn).wait().await.unwrap_err();
    match error.kind() {
        ErrorKind::Task => println!("{:?} failed: {error}", error.task()),
        ErrorKind::DeadlineExceeded => println!("late: {:?}", error.pending()),
        _ if error.is_timeout() => println!("a timeout further down"),
        _ => println!("{} more", error.others().len()),
    }
    let io: Result<std::io::Error, Error> = error.downcast();
    // policies
    let (budget, breaker, limit, rate) = (Budget::new(), Breaker::new("db"), Limit::new(4.try_into()?), Rate::new(100.try_into()?, Duration::from_secs(1)));
    let retry = Retry::times(2)
        .with_backoff(Backoff::exponential(Duration::from_millis(50)).with_factor(2).with_max(Duration::from_secs(1)).with_jitter(Jitter::Equal))
        .with_delays(|| std::iter::repeat(Duration::from_millis(5)))
        .with_budget(&budget)
        .when(|e: &std::io::Error| match e.kind() { std::io::ErrorKind::Other => Advice::After(Duration::from_secs(1)), _ => Advice::No });
    let robust = profile.timeout(Duration::from_millis(100)).limit(&limit).rate(&rate).breaker(&breaker).hedge(Hedge::after(Duration::from_millis(20)).with_budget(&budget)).retry(retry.clone()).coalesce();
    let name: String = robust.fetch(ctx.clone(), 7).await?;
    let fault: Fault = orders.leaving(Duration::from_millis(50)).retry(retry).fetch(ctx.clone(), 7).await.unwrap_err();
    if let FaultKind::Rejected(Rejection::BreakerOpen { retry_after, .. }) = fault.kind() { println!("{} {retry_after:?}", fault.attempts()); }
    let (a, b): (Result<String, Error>, Result<u32, Error>) = Aggregator::new(smol::spawn).source("a", robust).source("b", orders).settled().aggregate(&ctx, 7).await?;
    // observation
    let recorder = Recorder::new();
    let seen = ctx.with_observer(recorder.clone());
    Aggregator::new(smol::spawn).source("a", profile).aggregate(&seen, 7).await?;
    println!("{}", recorder.timeline().with_width(60));
    std::fs::write("run.svg", recorder.to_svg())?;
    recorder.write_chrome_trace(std::fs::File::create("run.json")?)?;
    Ok(())
}
fn the_rest_is_send() { let ctx = Context::background(); is_send(the_rest(&ctx)); fn unpin<T: Unpin + Send + Sync + 'static>() {} unpin::<Task>(); }
