//! A browser polls its devices itself: there is nothing to do.

use futures::channel::oneshot;

use super::mapped::Mapped;

#[derive(Debug, Default)]
pub(crate) struct Poller;

pub(crate) struct PollGuard;

impl Poller {
    pub fn keep_polling(&self, _: &wgpu::Device) -> PollGuard {
        PollGuard
    }
}

/// Reports a mapping to `sender`.
pub(crate) fn notify(sender: oneshot::Sender<Mapped>, mapped: Mapped) {
    // The receiver is gone where the future was dropped.
    let _ = sender.send(mapped);
}
