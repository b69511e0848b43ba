//! How many streams and exports run at once: each has a seat while it lasts.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::StatusCode;

use crate::kernel::{StreamId, TenantId};
use crate::vault::access::Principal;
use crate::web::limits::{HEARTBEAT, STREAMS, STREAMS_OF_PRINCIPAL, STREAMS_OF_TENANT};
use crate::web::problem::Problem;

/// The seats that are taken, by tenant and by who sits there: a user, or a credential without one.
#[derive(Clone, Default)]
pub(in super::super) struct Seats(Arc<Mutex<HashMap<(TenantId, StreamId), usize>>>);

/// A seat; free again when it is dropped.
pub(in super::super) struct Seat {
    seats: Seats,
    who: (TenantId, StreamId),
}

impl Seats {
    fn lock(&self) -> MutexGuard<'_, HashMap<(TenantId, StreamId), usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a seat, if there is one.
    pub fn take(&self, principal: &Principal) -> Result<Seat, Problem> {
        let who = (principal.tenant, principal.user.unwrap_or(principal.id));
        let mut taken = self.lock();
        let own = taken.get(&who).copied().unwrap_or(0);
        let of_tenant: usize = taken.iter().filter(|((tenant, _), _)| *tenant == who.0).map(|(_, seats)| seats).sum();
        if own >= STREAMS_OF_PRINCIPAL || of_tenant >= STREAMS_OF_TENANT {
            let detail = format!("at most {STREAMS_OF_PRINCIPAL} streams and exports at once for one principal, and {STREAMS_OF_TENANT} for a tenant");
            return Err(Problem { retry_after: Some(HEARTBEAT.as_secs()), ..Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many-streams", detail) });
        }
        if taken.values().sum::<usize>() >= STREAMS {
            return Err(Problem::busy());
        }
        taken.insert(who, own + 1);
        Ok(Seat { seats: self.clone(), who })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.lock();
        if let Some(own) = taken.get_mut(&self.who) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.who);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principal(tenant: u8, id: u8) -> Principal {
        Principal { id: StreamId([id; 16]), ..Principal::vault(TenantId([tenant; 16])) }
    }

    #[test]
    fn seats_are_limited_by_principal_tenant_and_in_all_and_come_free_again() {
        let seats = Seats::default();
        let take = |tenant, id| seats.take(&principal(tenant, id)).map_err(|problem| problem.status);
        let own: Vec<Seat> = (0..STREAMS_OF_PRINCIPAL).map(|_| take(1, 1).unwrap_or_else(|status| panic!("{status}"))).collect();
        assert_eq!(take(1, 1).err(), Some(429));
        let others: Vec<Seat> = (STREAMS_OF_PRINCIPAL..STREAMS_OF_TENANT).map(|number| take(1, 2 + u8::try_from(number / 8).unwrap()).ok().unwrap()).collect();
        assert_eq!(take(1, 200).err(), Some(429), "the tenant has enough");
        let more: Vec<Seat> = (STREAMS_OF_TENANT..STREAMS).map(|number| take(2, u8::try_from(number / 8).unwrap()).ok().unwrap()).collect();
        assert_eq!(take(3, 1).err(), Some(503), "so has the server");
        drop(own);
        assert!(take(1, 1).is_ok() && take(3, 1).is_ok());
        drop((others, more));
        assert!(seats.lock().is_empty());
    }
}
