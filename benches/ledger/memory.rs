//! Memory per credential. It is read as the growth of the process's resident set, because a counting allocator needs `unsafe`, which this
//! package forbids; so it holds what the allocator rounds up and keeps back as well.

use keyledger::credentials::connection::{self, Phase, Written};
use keyledger::credentials::issued::{self, KnownToken, SecretId, TokenType};
use keyledger::credentials::{AnyEvent, Verifier, api_key, consumer};
use keyledger::kernel::{ClaimOp, Class, Epoch, EventId, Fingerprint, Group, GroupId, Header, KeyId, Moment, Position, SealedSecret, StreamId, Version};
use keyledger::log::Index;
use keyledger::seal::Record;
use keyledger::views::Views;

use crate::table::{figure, heading_plain};
use crate::vault::TENANT;

/// Growth in bytes per thing; `None` where the system does not tell.
pub struct Memory {
    connections: u32,
    consumer: Option<f64>,
    connection: Option<f64>,
    index: Option<f64>,
    api_key: Option<f64>,
    key_index: Option<f64>,
}

impl Memory {
    pub fn print(&self) {
        heading_plain(&format!("memory, per credential of {} (growth of the resident set)", self.connections));
        for (what, bytes) in [
            ("views: a connection with two tokens", self.connection),
            ("views: its consumer", self.consumer),
            ("the sequencer's index: both, their claims and keys", self.index),
            ("views: an API key with two permissions", self.api_key),
            ("the sequencer's index: an API key", self.key_index),
        ] {
            match bytes {
                Some(bytes) => figure(what, bytes, "bytes"),
                None => println!("{what:<56}{:>12}", "not told"),
            }
        }
    }
}

/// The resident set, in bytes.
pub fn resident() -> Option<f64> {
    told("VmRSS:")
}

/// The most that the resident set ever was, in bytes.
pub fn peak() -> Option<f64> {
    told("VmHWM:")
}

fn told(name: &str) -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix(" kB")?.parse::<f64>().ok().map(|kibibytes| kibibytes * 1024.0)
}

/// Ids that look random, as real ones do: a hash map takes another shape when they do not.
pub fn id(kind: u8, number: u32) -> [u8; 16] {
    let mut state = (u64::from(kind) << 32 | u64::from(number)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut half = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb)
    };
    (u128::from(half()) << 64 | u128::from(half())).to_be_bytes()
}

/// The events of a fleet of connections, one consumer each, without boxes: the views never see those.
pub struct Fleet {
    position: u64,
}

impl Fleet {
    /// Its events come after this position.
    pub fn after(position: u64) -> Self {
        Self { position }
    }

    pub fn header(&mut self, stream: StreamId, version: u64, event: &AnyEvent) -> Header {
        self.position += 1;
        let number = u32::try_from(self.position).unwrap();
        Header {
            position: Position(self.position),
            previous: Position::ZERO,
            recorded_at: Moment::from_millis(1_777_903_500_000),
            version: Version(version),
            content_version: Version(version),
            facts_commitment: [3; 32],
            epoch: Epoch { number: 1, id: [1; 16] },
            event: EventId(id(3, number)),
            tenant: TENANT,
            stream,
            class: Class::Change,
            kind: event.kind().to_owned(),
            event_type: event.event_type().to_owned(),
            actor: StreamId([2; 16]),
            command: None,
            request: None,
            group: Group { id: GroupId(id(4, number)), index: 0, count: 1 },
            causation: Position::ZERO,
            claims: Vec::new(),
            facts_key: KeyId::from_bytes(stream.0),
            secrets: Vec::new(),
            shredded: Vec::new(),
        }
    }

    fn consumer(&mut self, number: u32) -> (Header, AnyEvent) {
        let stream = StreamId(id(1, number));
        let event = AnyEvent::from(consumer::Event::Created { app: "app".into(), consumer: format!("consumer-{number}"), metadata: None });
        let claims = vec![ClaimOp::Take([id(1, number), id(5, number)].concat().try_into().unwrap())];
        (Header { claims, ..self.header(stream, 1, &event) }, event)
    }

    fn connection(&mut self, number: u32) -> [(Header, AnyEvent); 3] {
        let (consumer, stream) = (StreamId(id(1, number)), StreamId(id(2, number)));
        let key = connection::Key { app: "app".into(), consumer: format!("consumer-{number}"), unified_api: "crm".into(), service_id: "pipedrive".into() };
        let noted = AnyEvent::from(consumer::Event::ConnectionAdded { connection: stream });
        let created = AnyEvent::from(connection::Event::Created { key, consumer, phase: Phase::Added, grant: None });
        let written = Written {
            enabled: None,
            settings: std::collections::BTreeMap::new(),
            removed: Vec::new(),
            metadata: None,
            configuration: None,
            custom_mappings: None,
            phase: Phase::Callable,
        };
        let imported = AnyEvent::from(connection::Event::Imported { written, issued_at: None, expires_at: None });
        // As the keyring hands keys out: one batch after the other.
        let sealed = |name: &str, taken: u32| {
            let key = KeyId { batch: id(6, taken / 256)[..12].try_into().unwrap(), slot: taken % 256 };
            SealedSecret { name: name.into(), key, fingerprint: Fingerprint(id(7, taken)) }
        };
        let secrets = vec![sealed("access_token", 2 * number), sealed("refresh_token", 2 * number + 1)];
        let claims = vec![ClaimOp::Take([id(2, number), id(8, number)].concat().try_into().unwrap())];
        [
            (self.header(consumer, 2, &noted), noted),
            (Header { claims, ..self.header(stream, 1, &created) }, created),
            (Header { secrets, ..self.header(stream, 2, &imported) }, imported),
        ]
    }
}

impl Fleet {
    fn api_key(&mut self, number: u32) -> (Header, AnyEvent) {
        let grant = api_key::Grant {
            name: format!("key of customer {number}"),
            owner: None,
            permissions: vec!["connections:read".into(), "connections:write".into()],
            emails: Vec::new(),
            organizations: Vec::new(),
            labels: Vec::new(),
            dns_name: None,
            app_ids: Vec::new(),
            expires_at: None,
        };
        let token = SecretId(id(9, number)[..12].try_into().unwrap());
        let known = KnownToken { id: token.to_string(), short: issued::short(TokenType::Key, token), verifier: Verifier::new([1; 16], [2; 32]) };
        let event = AnyEvent::from(api_key::Event::Created { grant, token: known });
        (self.header(StreamId(id(10, number)), 1, &event), event)
    }
}

/// API keys in views, then in an index, of their own.
fn measure_keys(keys: u32) -> (Option<f64>, Option<f64>) {
    let (mut views, mut index) = (Views::default(), Index::default());
    let start = resident();
    let mut fleet = Fleet::after(0);
    for number in 0..keys {
        let (header, event) = fleet.api_key(number);
        views.fold(&header, event);
    }
    let with_views = resident();
    let mut again = Fleet::after(0);
    for number in 0..keys {
        index.fold(&Record::encode(again.api_key(number).0, &[5; 350], &[]).unwrap());
    }
    let with_index = resident();
    std::hint::black_box((&views, &index));
    let each = |before: Option<f64>, after: Option<f64>| Some((after? - before?) / f64::from(keys));
    let measured = (each(start, with_views), each(with_views, with_index));
    // A freed heap would hide what is taken from it next.
    std::mem::forget((views, index));
    measured
}

/// Folds consumers, then their connections, then all headers into an index, and looks at the resident set in between.
pub fn measure(connections: u32) -> Memory {
    let (api_key, key_index) = measure_keys(connections);
    let (mut views, mut index) = (Views::default(), Index::default());
    let mut fleet = Fleet::after(0);
    let start = resident();
    for number in 0..connections {
        let (header, event) = fleet.consumer(number);
        views.fold(&header, event);
    }
    let with_consumers = resident();
    for number in 0..connections {
        for (header, event) in fleet.connection(number) {
            views.fold(&header, event);
        }
    }
    let with_connections = resident();
    let mut again = Fleet::after(0);
    for number in 0..connections {
        let consumer = again.consumer(number);
        for (header, _) in [consumer].into_iter().chain(again.connection(number)) {
            let secrets = vec![vec![6; 108]; header.secrets.len()];
            index.fold(&Record::encode(header, &[5; 350], &secrets).unwrap());
        }
    }
    let with_index = resident();
    std::hint::black_box((&views, &index));
    let each = |before: Option<f64>, after: Option<f64>| Some((after? - before?) / f64::from(connections));
    Memory {
        connections,
        consumer: each(start, with_consumers),
        connection: each(with_consumers, with_connections),
        index: each(with_connections, with_index),
        api_key,
        key_index,
    }
}
