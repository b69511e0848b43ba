//! Proofs of a real log, over the gap that a restore leaves, and the routes that give them.

use keyledger::kernel::Position;
use keyledger::log::{Audit, Told, audit};
use keyledger::seal::checkpoint::{VerifierKey, place, verify};
use keyledger::seal::proof::{is_consistent, is_included};
use keyledger::server::Until;
use keyledger::vault::export::check;
use keyledger::vault::{Leaf, Unprovable, Vault};
use serde_json::{Value, json};

use crate::fixed::unhex;
use crate::restore::{Old, import};
use crate::served_bench::ServedBench;

/// A vault that was restored to an earlier moment and went on; the old one's last checkpoint; and where the history was cut.
pub async fn restored() -> (Old, Vault, keyledger::server::Lock, String, Position) {
    let old = Old::new().await;
    let (vault, lock) = old.home("old", 2).start().await.unwrap();
    let owner = vault.authenticate(&old.token).unwrap();
    for number in 0..3 {
        import(&vault, &owner, &format!("c{number}"), "a token").await;
    }
    let cut = vault.views().position();
    for number in 0..4 {
        import(&vault, &owner, &format!("d{number}"), "a token").await;
    }
    let before = vault.checkpoint(vault.views().position()).await.unwrap().note.to_string();
    drop((vault, lock));
    old.restore("old", Until::Position(cut), "new", 3).await.unwrap();
    let (vault, lock) = old.home("new", 4).start().await.unwrap();
    import(&vault, &owner, "e", "a token").await;
    (old, vault, lock, before, cut)
}

#[tokio::test]
async fn every_leaf_and_every_size_of_a_restored_log_is_proven() {
    let (_old, vault, _lock, before, cut) = restored().await;
    let head = vault.views().position();
    let records = vault.log().read(Position::ZERO, 4096).await.unwrap();
    let (prover, size) = (vault.prover().await.unwrap(), records.len() as u64);
    assert_eq!((prover.size, prover.head), (size, head));
    let gap = records.iter().find(|record| record.header().epoch.number == 2).unwrap().header().position;
    assert!(gap.0 > cut.0 + 1, "a gap");
    for (record, leaf) in records.iter().zip(0..) {
        let position = record.header().position;
        assert_eq!((prover.leaf(position), prover.position(leaf), prover.size_at(position)), (Some(leaf), Some(position), leaf + 1));
    }
    for position in cut.0 + 1..gap.0 {
        assert_eq!((prover.leaf(Position(position)), prover.size_at(Position(position))), (None, cut.0));
    }
    assert_eq!((prover.leaf(Position(0)), prover.leaf(head.next()), prover.position(size), prover.size_at(Position(0))), (None, None, None, 0));
    let public = vault.public_key();
    let now = verify(&vault.checkpoint(head).await.unwrap().note, &public).unwrap();
    for (record, leaf) in records.iter().zip(0..) {
        let (position, hash, proof) = vault.prove_inclusion(Leaf::At(record.header().position), None, head).await.unwrap().unwrap();
        assert_eq!((position, hash, proof.of, proof.size), (record.header().position, record.leaf(), leaf, size));
        assert!(is_included(record.leaf(), leaf, size, &proof.hashes, &now.root));
        // The checkpoint as it was then, and from it to now.
        let then = verify(&vault.checkpoint(record.header().position).await.unwrap().note, &public).unwrap();
        assert_eq!((then.size, place(&then.origin).unwrap().1), (leaf + 1, record.header().epoch));
        let proof = vault.prove_consistency(leaf + 1, None, head).await.unwrap().unwrap();
        assert!(is_consistent((leaf + 1, &then.root), (size, &now.root), &proof.hashes));
    }
    let before = verify(&before, &public).unwrap();
    let proof = vault.prove_consistency(cut.0 + 1, Some(size), head).await.unwrap().unwrap();
    assert!(!is_consistent((cut.0 + 1, &before.root), (size, &now.root), &proof.hashes), "another history");
    let unproven = vault.prove_inclusion(Leaf::At(Position(cut.0 + 1)), None, head).await.unwrap();
    assert_eq!(unproven.unwrap_err(), Unprovable::NoSuchPosition(Position(cut.0 + 1)));
}

#[tokio::test]
async fn a_restored_log_is_whole_to_whoever_has_no_key() {
    let (_old, vault, _lock, before, cut) = restored().await;
    let (head, public) = (vault.views().position(), vault.public_key());
    let told = |note: &str| {
        let checkpoint = verify(note, &public).unwrap();
        Told { size: checkpoint.size, root: checkpoint.root, epoch: place(&checkpoint.origin).map(|(_, epoch)| epoch), by: "a checkpoint".into() }
    };
    let now = vault.checkpoint(head).await.unwrap();
    let at_the_cut = vault.checkpoint(cut).await.unwrap();
    let whole = audit(&**vault.log(), Audit::against(vec![told(&before), told(&at_the_cut.note), told(&now.note)]), &|_| ()).await.unwrap().unwrap();
    assert_eq!((whole.size, whole.told, whole.root, whole.head), (now.size, now.size, now.root, head), "what the restore left behind is no matter");
    let mut of_the_cut = told(&at_the_cut.note);
    of_the_cut.root[0] ^= 1;
    let bad = audit(&**vault.log(), Audit::against(vec![of_the_cut, told(&now.note)]), &|_| ()).await.unwrap().unwrap_err();
    assert_eq!((bad.from, bad.position), (Position(1), cut));
    let file = export(&vault).await;
    let (whole, ties) = check(file.as_bytes(), &verify(&now.note, &public).unwrap(), &public, &|_| ()).unwrap().unwrap();
    assert_eq!((whole.events, ties.committed + ties.signed), (now.size, now.size));
    // What is not shown is passed over, by its hash or by that of a subtree, and the rest is checked as before.
    let lines: Vec<&str> = file.lines().collect();
    let passed = |leaf: usize, count: u64, root| keyledger::vault::export::Line::passed(leaf as u64, count, root).text().unwrap();
    let records = vault.log().read(Position::ZERO, 4096).await.unwrap();
    let mut subtree = keyledger::seal::merkle::Frontier::default();
    records[64..96].iter().for_each(|record| {
        subtree.push(record.leaf());
    });
    let mut partial: Vec<String> = lines[..60].iter().map(|line| (*line).to_owned()).collect();
    partial.extend((60..64).map(|leaf| passed(leaf, 1, records[leaf].leaf())));
    partial.push(passed(64, 32, subtree.root()));
    partial.extend(lines[96..].iter().map(|line| (*line).to_owned()));
    let checkpoint = verify(&now.note, &public).unwrap();
    let (whole, ties) = check((partial.join("\n") + "\n").as_bytes(), &checkpoint, &public, &|_| ()).unwrap().unwrap();
    assert_eq!((whole.events, whole.size, ties.untold), (now.size - 36, now.size, 5));
    partial.remove(60);
    assert!(check((partial.join("\n") + "\n").as_bytes(), &checkpoint, &public, &|_| ()).unwrap().is_err());
}

/// The whole log as an exported file.
pub async fn export(vault: &Vault) -> String {
    let records = vault.log().read(Position::ZERO, 4096).await.unwrap();
    records.iter().zip(0..).map(|(record, leaf)| vault.line(leaf, record).unwrap().text().unwrap() + "\n").collect()
}

async fn get(bench: &ServedBench, token: &str, path: &str) -> (u16, String) {
    let answer = bench.request(token, "GET", path).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

fn hash(text: &Value) -> [u8; 32] {
    unhex(text.as_str().unwrap()).try_into().unwrap()
}

fn hashes(list: &Value) -> Vec<[u8; 32]> {
    list.as_array().unwrap().iter().map(hash).collect()
}

#[tokio::test]
async fn the_routes_give_what_a_stranger_needs_and_an_auditor_of_any_tenant_gets_the_same() {
    let bench = ServedBench::start().await;
    for number in 0..5 {
        bench.user(&format!("user{number}")).await;
    }
    let other = bench.tenant("other").await;
    let (status, note) = get(&bench, &bench.token, "/v1/log/checkpoint").await;
    assert_eq!(status, 200);
    assert_eq!(get(&bench, &other, "/v1/log/checkpoint").await, (200, note.clone()), "it tells nothing of whose events these are");
    let key: VerifierKey = get(&bench, &other, "/v1/log/key").await.1.trim().parse().unwrap();
    let now = verify(&note, &key.public).unwrap();
    assert_eq!(now.origin, key.name);
    assert_eq!(now.size, bench.vault.views().position().0);
    let json = async |path: String| -> Value { serde_json::from_str(&get(&bench, &other, &path).await.1).unwrap() };
    let leaves = json("/v1/log/leaves?limit=4096".into()).await;
    let all = hashes(&leaves["hashes"]);
    assert_eq!((all.len() as u64, &leaves["next"], &leaves["size"]), (now.size, &Value::Null, &json!(now.size)));
    let page = json("/v1/log/leaves?from=2&limit=3".into()).await;
    assert_eq!((hashes(&page["hashes"]), &page["next"]), (all[2..5].to_vec(), &json!(5)));
    for (place, leaf) in all.iter().enumerate() {
        let by_leaf = json(format!("/v1/log/proofs/inclusion?leaf={place}")).await;
        assert_eq!(by_leaf, json(format!("/v1/log/proofs/inclusion?position={}&size={}", place + 1, now.size)).await);
        assert_eq!((hash(&by_leaf["hash"]), hash(&by_leaf["root"])), (*leaf, now.root));
        assert!(is_included(*leaf, place as u64, now.size, &hashes(&by_leaf["proof"]), &now.root));
    }
    let (_, then) = get(&bench, &bench.token, "/v1/log/checkpoint?as_of=7").await;
    let then = verify(&then, &key.public).unwrap();
    assert_eq!(then.size, 7);
    let proof = json("/v1/log/proofs/consistency?from=7".into()).await;
    assert!(is_consistent((7, &then.root), (now.size, &now.root), &hashes(&proof["proof"])));
    let past = now.size + 1;
    for (path, status, kind) in [
        ("inclusion?position=1&leaf=0".to_owned(), 400, "invalid"),
        ("inclusion".into(), 400, "invalid"),
        ("inclusion?leaf=-1".into(), 400, "invalid"),
        ("inclusion?leaf=x".into(), 400, "invalid"),
        ("inclusion?leaf=5&size=5".into(), 400, "invalid"),
        ("inclusion?position=0".into(), 404, "no-such-position"),
        (format!("inclusion?position={past}"), 404, "past-the-end"),
        (format!("inclusion?leaf={}", now.size), 404, "past-the-end"),
        (format!("inclusion?leaf=0&size={past}"), 404, "past-the-end"),
        ("inclusion?leaf=18446744073709551615".into(), 404, "past-the-end"),
        ("consistency".into(), 400, "invalid"),
        ("consistency?from=0".into(), 400, "invalid"),
        ("consistency?from=3&to=2".into(), 400, "invalid"),
        (format!("consistency?from={past}"), 404, "past-the-end"),
        (format!("consistency?from=1&to={past}"), 404, "past-the-end"),
        ("../leaves?limit=0".into(), 400, "invalid"),
        ("../leaves?limit=4097".into(), 400, "invalid"),
        (format!("../leaves?from={past}"), 404, "past-the-end"),
        ("../leaves?from=18446744073709551615".into(), 404, "past-the-end"),
        ("../leaves?size=3".into(), 400, "invalid"),
    ] {
        let path = format!("/v1/log/proofs/{path}").replace("/proofs/../", "/");
        let (came, body) = get(&bench, &bench.token, &path).await;
        let problem: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((came, &problem["type"]), (status, &json!(format!("urn:keyledger:problem:{kind}"))), "{path}: {body}");
    }
    assert_eq!(get(&bench, &bench.token, &format!("/v1/log/leaves?from={}", now.size)).await.0, 200, "an empty page at the end");
}
