//! Errors that a device reports for calls. Natively it reports them at once, and the call fails. A browser reports them
//! after the call has returned: they fail the next answer.

#[cfg(not(target_arch = "wasm32"))]
mod platform {
    use futures::FutureExt;

    use crate::error::Result;

    /// Natively no error is deferred.
    #[derive(Debug, Default)]
    pub struct DeferredErrors(());

    #[allow(clippy::unused_self, clippy::unused_async, clippy::unnecessary_wraps, reason = "as in a browser")]
    impl DeferredErrors {
        /// Fails `operation` with the error that one of its error scopes has caught.
        pub fn collect(
            &self,
            device: &wgpu::Device,
            operation: &'static str,
            scopes: impl IntoIterator<Item = impl Future<Output = Option<wgpu::Error>>>,
        ) -> Result<()> {
            let mut caught = None;
            for scope in scopes {
                if let Some(Some(error)) = scope.now_or_never() {
                    caught = Some(error);
                }
            }
            // Objects made on a lost device are invalid; wgpu reports their use as a validation error.
            caught.map_or(Ok(()), |error| Err(super::reported(operation, &error, || super::is_lost(device))))
        }

        /// All errors that were collected, leaving none.
        pub fn take(&self) -> Self {
            Self(())
        }

        /// Adds errors that were taken and not checked.
        pub fn restore(&self, _: Self) {}

        /// Fails with the first error, if any.
        pub async fn check(self) -> Result<()> {
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

    /// What the error scopes of operations will turn out to have caught.
    #[derive(Default)]
    pub struct DeferredErrors(Mutex<Vec<DeferredError>>);

    /// What the error scopes of one operation have caught, once the browser reports it.
    struct DeferredError {
        operation: &'static str,
        caught: Pin<Box<dyn Future<Output = Option<wgpu::Error>> + Send>>,
    }

    impl DeferredErrors {
        /// Keeps what the error scopes of `operation` will turn out to have caught.
        pub fn collect<F: Future<Output = Option<wgpu::Error>> + Send + 'static>(
            &self,
            _device: &wgpu::Device,
            operation: &'static str,
            scopes: impl IntoIterator<Item = F>,
        ) -> Result<()> {
            let scopes: Vec<F> = scopes.into_iter().collect();
            let caught = Box::pin(join_all(scopes).map(|all| all.into_iter().flatten().next()));
            let mut all = lock(&self.0);
            // A program that only adds patterns requests no answer that would check them. Pruning whenever the vector
            // is full costs, on average, no more than pushing.
            if all.len() == all.capacity() {
                all.retain_mut(DeferredError::is_open);
            }
            all.push(DeferredError { operation, caught });
            Ok(())
        }

        /// All errors that were collected, leaving none.
        pub fn take(&self) -> Self {
            Self(Mutex::new(std::mem::take(&mut *lock(&self.0))))
        }

        /// Adds errors that were taken and not checked.
        pub fn restore(&self, others: Self) {
            let others = unpoisoned(others.0.into_inner());
            lock(&self.0).extend(others);
        }

        /// Fails with the first error, if any. The errors of a call are known before later submissions are done.
        pub async fn check(self) -> Result<()> {
            let mut all = self.0;
            let check = |context: &mut Context<'_>| {
                let all = unpoisoned(all.get_mut());
                while let Some(first) = all.first_mut() {
                    match first.poll(context) {
                        Poll::Pending => return Poll::Pending,
                        Poll::Ready(Some(error)) => return Poll::Ready(Err(error)),
                        Poll::Ready(None) => drop(all.remove(0)),
                    }
                }
                Poll::Ready(Ok(()))
            };
            std::future::poll_fn(check).await
        }
    }

    impl DeferredError {
        fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Error>> {
            let Self { operation, caught } = self;
            // A browser reports no error of a lost device.
            let reported = |error: wgpu::Error| super::reported(operation, &error, || false);
            caught.as_mut().poll(context).map(|caught| caught.map(reported))
        }

        /// Whether there is an error, or may yet be one.
        fn is_open(&mut self) -> bool {
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

    impl fmt::Debug for DeferredErrors {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("DeferredErrors").finish_non_exhaustive()
        }
    }
}

pub(crate) use platform::DeferredErrors;

use crate::error::Error;

/// The error of `operation`, for which a device reported `error`.
fn reported(operation: &'static str, error: &wgpu::Error, is_lost: impl FnOnce() -> bool) -> Error {
    let message = || error.to_string().replace('\n', " ");
    match error {
        wgpu::Error::OutOfMemory { .. } => Error::OutOfMemory { operation, what: operation, bytes: None },
        _ if is_lost() => Error::DeviceLost { operation, message: message() },
        _ => Error::Internal { operation, message: message() },
    }
}

/// Whether the device is lost. Such a device creates buffers without an error; only their mapping fails.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn is_lost(device: &wgpu::Device) -> bool {
    let filters = [wgpu::ErrorFilter::Internal, wgpu::ErrorFilter::OutOfMemory, wgpu::ErrorFilter::Validation];
    let scopes = filters.map(|filter| device.push_error_scope(filter));
    let buffer = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("attractor.probe"),
        size: 16,
        usage: wgpu::BufferUsages::COPY_SRC,
        mapped_at_creation: true,
    });
    let mut refused = false;
    for scope in scopes.into_iter().rev() {
        refused |= matches!(futures::FutureExt::now_or_never(scope.pop()), Some(Some(_)));
    }
    !refused && buffer.slice(..).get_mapped_range_mut().is_err()
}

/// A browser tells of a lost device only where a mapping fails.
#[cfg(target_arch = "wasm32")]
pub(crate) fn is_lost(_device: &wgpu::Device) -> bool {
    false
}
