//! Paid calls and running jobs, by client.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Who has how many, and whose are the jobs. Never locked over an await.
#[derive(Default)]
pub(super) struct Slots(Mutex<Taken>);

#[derive(Default)]
struct Taken {
    /// Calls and jobs by client; nobody stands here with none.
    clients: HashMap<String, usize>,
    /// The client of each job that has a slot, by the job's id.
    jobs: HashMap<String, String>,
}

/// The right to one paid call. Given back when it is dropped, unless a job has it.
pub struct Slot {
    slots: Arc<Slots>,
    whose: Whose,
}

/// Who gives a slot back.
enum Whose {
    /// The call of this client, when it is dropped.
    Call(String),
    /// The job with this id: its end, or the one who drops it while it is not sure that the job is
    /// known.
    Job(String),
    /// Somebody else.
    Nobodys,
}

impl Slots {
    /// A slot for `client`, if it has fewer than `most`; 0 is any number.
    pub(super) fn take(slots: &Arc<Self>, client: &str, most: u32) -> Option<Slot> {
        let mut taken = slots.lock();
        let free = most == 0 || taken.of_client(client) < most as usize;
        free.then(|| taken.add(slots, client))
    }

    /// A slot for `client`, however many it has: for what runs already.
    pub(super) fn add(slots: &Arc<Self>, client: &str) -> Slot {
        slots.lock().add(slots, client)
    }

    /// Gives back a job's slot, if it has one.
    pub(super) fn end_job(&self, task_id: &str) {
        let mut taken = self.lock();
        if let Some(client) = taken.jobs.remove(task_id) {
            taken.give_back(&client);
        }
    }

    /// How many `client` has.
    pub(super) fn of_client(&self, client: &str) -> usize {
        self.lock().of_client(client)
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn of_client(&self, client: &str) -> usize {
        self.clients.get(client).copied().unwrap_or_default()
    }

    fn add(&mut self, slots: &Arc<Slots>, client: &str) -> Slot {
        let has = self.of_client(client);
        self.clients
            .insert(client.to_owned(), has.saturating_add(1));
        Slot {
            slots: slots.clone(),
            whose: Whose::Call(client.to_owned()),
        }
    }

    fn give_back(&mut self, client: &str) {
        match self.clients.get_mut(client) {
            Some(has) if *has > 1 => *has -= 1,
            Some(_) => {
                self.clients.remove(client);
            }
            None => {}
        }
    }
}

impl Slot {
    /// The call has brought a job, which has the slot from now on: it ends with the job, also when
    /// that comes before anything else. To be called before the job can be heard of elsewhere, and
    /// followed by [`stay`](Self::stay) once it is sure that its end will be.
    pub fn for_job(&mut self, task_id: &str) {
        let Whose::Call(client) = &self.whose else {
            return;
        };
        let mut taken = self.slots.lock();
        let whose = if taken.jobs.contains_key(task_id) {
            // One job, one slot, however many submits were answered with it.
            taken.give_back(client);
            Whose::Nobodys
        } else {
            taken.jobs.insert(task_id.to_owned(), client.clone());
            Whose::Job(task_id.to_owned())
        };
        drop(taken);
        self.whose = whose;
    }

    /// The job is known, so its end gives the slot back and nobody else. Of a call it changes nothing.
    pub fn stay(&mut self) {
        if matches!(self.whose, Whose::Job(_)) {
            self.whose = Whose::Nobodys;
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        match std::mem::replace(&mut self.whose, Whose::Nobodys) {
            Whose::Call(client) => self.slots.lock().give_back(&client),
            Whose::Job(task_id) => self.slots.end_job(&task_id),
            Whose::Nobodys => {}
        }
    }
}
