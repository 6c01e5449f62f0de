//! An answer that an engine has begun: a future, and the device that has to be polled for it.

use std::pin::Pin;

use crate::error::Result;

/// Resolves to an answer, on any executor. It borrows nothing from the memory that was asked.
pub(crate) type AnswerFuture<T> = Pin<Box<dyn Future<Output = Result<T>> + Send + Sync>>;

/// How the device that computes an answer is driven while a caller waits for the answer.
pub(crate) trait Progress: Send + Sync {
    /// Polls the device once, without waiting. Does nothing on a host's device, which the host polls.
    fn poll(&self);

    /// Has a background thread poll the device while the returned guard exists.
    fn keep_polling(&self) -> Box<dyn Send + Sync>;

    /// Blocks this thread until the answer is computed, where this library may wait for the device.
    ///
    /// # Errors
    /// [`Error::DeviceLost`](crate::Error::DeviceLost) where the device is lost.
    fn wait(&self) -> Result<()>;
}

/// What an engine returns for an answer that may not be computed yet.
pub(crate) struct Answer<T> {
    pub future: AnswerFuture<T>,
    /// Absent where the answer is computed on threads of the host.
    pub device: Option<Box<dyn Progress>>,
}

impl<T> Answer<T> {
    /// An answer that threads of the host compute.
    pub fn new(future: impl Future<Output = Result<T>> + Send + Sync + 'static) -> Self {
        Self { future: Box::pin(future), device: None }
    }

    /// An answer that `device` computes.
    pub fn on_device(
        device: impl Progress + 'static,
        future: impl Future<Output = Result<T>> + Send + Sync + 'static,
    ) -> Self {
        Self { future: Box::pin(future), device: Some(Box::new(device)) }
    }
}

impl<T: Send + Sync + 'static> Answer<T> {
    /// This answer, made into another.
    pub fn map<U: Send + Sync + 'static>(self, make: impl FnOnce(T) -> U + Send + Sync + 'static) -> Answer<U> {
        let Self { future, device } = self;
        Answer { future: Box::pin(async move { future.await.map(make) }), device }
    }

    /// An answer that is computed already.
    pub fn ready(answer: T) -> Self {
        Self::new(std::future::ready(Ok(answer)))
    }
}
