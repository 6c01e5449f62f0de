//! Errors that a device reports for calls. Natively it reports them at once, and the call fails. A browser reports them
//! later: they come with the next answer.

#[cfg(not(target_arch = "wasm32"))]
mod platform {
    use futures::FutureExt;

    use crate::error::{Error, Result};

    /// Nothing is left to be told later.
    #[derive(Debug, Default)]
    pub struct Complaints(());

    #[allow(clippy::unused_self, clippy::unused_async, clippy::unnecessary_wraps, reason = "as in a browser")]
    impl Complaints {
        /// Fails `operation` with what one of its error scopes has caught.
        pub fn gather(
            &self,
            operation: &'static str,
            scopes: impl IntoIterator<Item = impl Future<Output = Option<wgpu::Error>>>,
        ) -> Result<()> {
            let mut caught = Ok(());
            for scope in scopes {
                if let Some(Some(error)) = scope.now_or_never() {
                    caught = Err(Error::Lost { operation, message: super::in_one_line(&error) });
                }
            }
            caught
        }

        /// All that has been gathered.
        pub fn take(&self) -> Self {
            Self(())
        }

        /// Gathers those again.
        pub fn put_back(&self, _: Self) {}

        /// Fails where there is a complaint.
        pub async fn hear(self) -> Result<()> {
            Ok(())
        }
    }
}

#[cfg(target_arch = "wasm32")]
mod platform {
    use std::fmt;
    use std::pin::Pin;
    use std::sync::Mutex;
    use std::task::{Context, Poll, Waker};

    use futures::FutureExt;
    use futures::future::join_all;

    use crate::error::{Error, Result};
    use crate::sync::{lock, unpoisoned};

    /// What the error scopes of some operations will have caught.
    #[derive(Default)]
    pub struct Complaints(Mutex<Vec<Complaint>>);

    /// What those of one operation have caught, once it is known.
    struct Complaint {
        operation: &'static str,
        caught: Pin<Box<dyn Future<Output = Option<wgpu::Error>> + Send>>,
    }

    impl Complaints {
        /// Keeps what the error scopes of `operation` will have caught.
        pub fn gather<F: Future<Output = Option<wgpu::Error>> + Send + 'static>(
            &self,
            operation: &'static str,
            scopes: impl IntoIterator<Item = F>,
        ) -> Result<()> {
            let scopes: Vec<F> = scopes.into_iter().collect();
            let caught = Box::pin(join_all(scopes).map(|all| all.into_iter().flatten().next()));
            let mut all = lock(&self.0);
            // Those who add patterns for ever ask for no answer. Looking at all of them takes no longer, on average,
            // than keeping them.
            if all.len() == all.capacity() {
                all.retain_mut(Complaint::matters);
            }
            all.push(Complaint { operation, caught });
            Ok(())
        }

        /// All that has been gathered.
        pub fn take(&self) -> Self {
            Self(Mutex::new(std::mem::take(&mut *lock(&self.0))))
        }

        /// Gathers those again.
        pub fn put_back(&self, others: Self) {
            let others = unpoisoned(others.0.into_inner());
            lock(&self.0).extend(others);
        }

        /// Fails where there is a complaint. Each is known before what was submitted after it is done.
        pub async fn hear(self) -> Result<()> {
            let mut all = self.0;
            let hear = |context: &mut Context<'_>| {
                let all = unpoisoned(all.get_mut());
                while let Some(complaint) = all.first_mut() {
                    match complaint.poll(context) {
                        Poll::Pending => return Poll::Pending,
                        Poll::Ready(Some(error)) => return Poll::Ready(Err(error)),
                        Poll::Ready(None) => drop(all.remove(0)),
                    }
                }
                Poll::Ready(Ok(()))
            };
            std::future::poll_fn(hear).await
        }
    }

    impl Complaint {
        fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Error>> {
            let Self { operation, caught } = self;
            let lost = |error: wgpu::Error| Error::Lost { operation, message: super::in_one_line(&error) };
            caught.as_mut().poll(context).map(|caught| caught.map(lost))
        }

        /// Whether it is one, or may become one.
        fn matters(&mut self) -> bool {
            match self.caught.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Pending => true,
                Poll::Ready(None) => false,
                Poll::Ready(Some(error)) => {
                    self.caught = Box::pin(std::future::ready(Some(error)));
                    true
                }
            }
        }
    }

    impl fmt::Debug for Complaints {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("Complaints").finish_non_exhaustive()
        }
    }
}

pub(crate) use platform::Complaints;

fn in_one_line(error: &wgpu::Error) -> String {
    error.to_string().replace('\n', " ")
}
