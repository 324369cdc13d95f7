//! The tasks: they follow their orders, and report to the model.

use super::*;

impl Script {
    pub(super) fn obey(&mut self, cx: &task::Context<'_>) -> Poll<Result<usize, BoxError>> {
        loop {
            let command = self.world.lock().tasks[self.id].commands.pop_front();
            match command {
                Some(Command::SpawnSibling) => self.spawn_sibling(),
                Some(Command::Succeed) => return self.finish(Outcome::Success),
                Some(Command::Fail) => return self.finish(Outcome::Error),
                Some(Command::Panic) => {
                    self.world.lock().returned(self.id, Outcome::Panic);
                    std::panic::resume_unwind(Box::new("a bug"));
                }
                None => break,
            }
        }
        let (ended, background, manners) = {
            let model = self.world.lock();
            let task = &model.tasks[self.id];
            let ended = model.groups[task.group].end.is_some();
            (ended, task.background, task.manners)
        };
        match manners {
            Manners::Succeeds if ended => self.finish(Outcome::Success),
            Manners::Echoes if ended && background => self.finish(Outcome::Echo),
            Manners::Echoes if ended => self.finish(Outcome::Error),
            _ => {
                self.world.lock().tasks[self.id].waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    pub(super) fn finish(&self, outcome: Outcome) -> Poll<Result<usize, BoxError>> {
        self.world.lock().returned(self.id, outcome);
        Poll::Ready(match outcome {
            Outcome::Success => Ok(self.id),
            Outcome::Echo => Err(self.context().err().expect("it has ended").into()),
            _ => Err("an error".into()),
        })
    }

    pub(super) fn context(&self) -> Context {
        let model = self.world.lock();
        model.groups[model.tasks[self.id].group].ctx.clone()
    }

    pub(super) fn spawn_sibling(&self) {
        let group = self.world.lock().tasks[self.id].group;
        let script = self.world.script(group, false);
        let expected = self.world.admit(&script, true);
        let spawn = self.world.lock().groups[group].sibling.clone();
        let spawned = spawn.unwrap()(script).is_ok();
        assert_eq!(spawned, expected);
    }
}

impl Future for Script {
    type Output = Result<usize, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        let world = self.world.clone();
        world.lock().polled(self.id);
        let Some(nested) = &mut self.nested else {
            return self.obey(cx);
        };
        let group = nested.mark.group;
        {
            let mut model = world.lock();
            model.groups[group].waiting = true;
            model.serve_queue(group);
        }
        match nested.wait.as_mut().poll(cx) {
            Poll::Pending => {
                world.lock().notice(group);
                Poll::Pending
            }
            Poll::Ready(result) => {
                self.world.check_wait(group, &result);
                self.world.lock().end(group, End::Itself);
                self.finish(if result.is_ok() {
                    Outcome::Success
                } else {
                    Outcome::Error
                })
            }
        }
    }
}

/// Background tasks have no result.
pub(super) async fn background(script: Script) -> Result<(), BoxError> {
    script.await.map(drop)
}

impl Drop for Script {
    fn drop(&mut self) {
        self.nested = None;
        self.world.lock().dropped(self.id);
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        self.world.lock().end(self.group, End::Itself);
    }
}
