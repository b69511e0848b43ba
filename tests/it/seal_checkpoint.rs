//! Checkpoints: notes that another implementation signed, malformed ones, and what changes when anything in them does.

use keyledger::kernel::{Epoch, VaultId};
use keyledger::seal::Key;
use keyledger::seal::checkpoint::{CheckpointError, MAX_NOTE, VerifierKey, origin, place, public_key, sign, verify};
use serde_json::Value;

use crate::fixed::{hex, unhex};

fn vectors() -> Value {
    serde_json::from_str(include_str!("../vectors/checkpoint.json")).unwrap()
}

fn array<const N: usize>(value: &Value) -> [u8; N] {
    unhex(value.as_str().unwrap()).try_into().unwrap()
}

fn seat(vectors: &Value) -> (VaultId, Epoch) {
    let epoch = &vectors["epoch"];
    (VaultId(array(&vectors["vault"])), Epoch { number: u32::try_from(epoch["number"].as_u64().unwrap()).unwrap(), id: array(&epoch["id"]) })
}

#[test]
fn a_checkpoint_is_signed_as_another_implementation_signs_it() {
    let vectors = vectors();
    let ((vault, epoch), seed) = (seat(&vectors), Key::new(array(&vectors["seed"])));
    assert_eq!(origin(vault, epoch), vectors["origin"]);
    assert_eq!(place(&origin(vault, epoch)), Some((vault, epoch)));
    assert_eq!(hex(&public_key(&seed)), vectors["public"]);
    let note = sign(vault, epoch, vectors["size"].as_u64().unwrap(), array(&vectors["root"]), &seed);
    assert_eq!(note, vectors["good"][0]["note"]);
    let key = VerifierKey { name: origin(vault, epoch), public: public_key(&seed) };
    assert_eq!(key.to_string(), vectors["verifier_key"]);
    assert_eq!(key.to_string().parse(), Ok(key));
}

#[test]
fn good_notes_are_read_whoever_else_signed_them() {
    let vectors = vectors();
    for case in vectors["good"].as_array().unwrap() {
        let read = verify(case["note"].as_str().unwrap(), &array(&vectors["public"])).unwrap_or_else(|error| panic!("{}: {error}", case["why"]));
        assert_eq!((read.origin.as_str(), read.size), (vectors["origin"].as_str().unwrap(), 4711), "{}", case["why"]);
        assert_eq!(read.root, array(&vectors["root"]), "{}", case["why"]);
        assert_eq!(serde_json::json!(read.extensions), case["extensions"], "{}", case["why"]);
    }
}

#[test]
fn malformed_notes_and_keys_are_refused_each_for_its_reason() {
    let (vectors, malformed): (_, Value) = (vectors(), serde_json::from_str(include_str!("../vectors/checkpoint_malformed.json")).unwrap());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    for case in malformed["notes"].as_array().unwrap() {
        let error = verify(&text(&case["note"]), &array(&vectors["public"])).expect_err(&text(&case["why"]));
        assert_eq!(error.to_string(), case["error"], "{}", case["why"]);
    }
    for case in malformed["verifier_keys"].as_array().unwrap() {
        let error = text(&case["text"]).parse::<VerifierKey>().expect_err(&text(&case["why"]));
        assert_eq!(error.to_string(), case["error"], "{}", case["why"]);
    }
    let long = text(&vectors["good"][0]["note"]) + &"x".repeat(MAX_NOTE);
    assert_eq!(verify(&long, &array(&vectors["public"])), Err(CheckpointError::Note("it is too long")));
}

#[test]
fn a_verifier_key_of_the_go_implementation_is_read() {
    // From the tests of golang.org/x/mod/sumdb/note.
    let known = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    assert_eq!(known.parse::<VerifierKey>().unwrap().to_string(), known);
}

#[test]
fn whatever_byte_is_changed_a_checkpoint_is_refused() {
    let vectors = vectors();
    let (note, public) = (vectors["good"][0]["note"].as_str().unwrap(), array(&vectors["public"]));
    for at in 0..note.len() {
        for flip in [1, 2, 16, 32] {
            let mut bytes = note.as_bytes().to_vec();
            bytes[at] ^= flip;
            let Ok(changed) = String::from_utf8(bytes) else { continue };
            assert!(verify(&changed, &public).is_err(), "byte {at} flipped by {flip}");
        }
    }
    let other = public_key(&Key::new([9; 32]));
    assert_eq!(verify(note, &other), Err(CheckpointError::UnknownKey));
}

#[test]
fn only_origins_of_ours_have_a_place() {
    let good = origin(VaultId([1; 16]), Epoch { number: 7, id: [2; 16] });
    assert!(place(&good).is_some());
    for bad in [&good.replace("/7-", "/07-"), &good.replace("/7-", "/-"), &good.to_uppercase(), &good[1..], &good[..good.len() - 1], "log.example/1", ""] {
        assert_eq!(place(bad), None, "{bad}");
    }
}
