//! A keyring of another time beside the log: one from before a shred brings nothing back, one that lacks keys is noticed, and a key that is gone
//! though nothing was shredded stops the vault.

use keyledger::keyring::KeyringError;
use keyledger::server::{HomeError, Until};
use keyledger::vault::VaultError;

use crate::shred_bench::{ShredBench, all_destroyed, is_shredded};

#[tokio::test]
async fn a_keyring_from_before_a_shred_brings_no_key_back() {
    let mut bench = ShredBench::new().await;
    let gone = bench.import("gone").await;
    bench.import("kept").await;
    let before = bench.vault().views().position();
    let sealed = bench.sealed(gone).await;
    bench.write_snapshot().await;
    let (keyring, snapshot) = (bench.keyring_files(), std::fs::read(bench.path("data/views.snapshot")).unwrap());
    bench.shred_thing(gone).await;
    let live = bench.vault().views();
    let tenant = bench.owner().tenant;
    let hash = bench.replay("data", before).await.2;
    // As it lies after a crash between the event and the end of the keys, too.
    for with_snapshot in [true, false] {
        bench.stop();
        ShredBench::put_back(&bench.path("data"), &keyring);
        if with_snapshot {
            std::fs::write(bench.path("data/views.snapshot"), &snapshot).unwrap();
        }
        assert_eq!(bench.files_with(&sealed.bytes[..3]).len(), 2, "the keys lie there again");
        assert_eq!(bench.replay("data", before).await.2, hash, "a reader opens nothing that was shredded, though it could");
        let into = bench.path(&format!("restored-{with_snapshot}"));
        bench.home("data").restore(Until::Position(before), &into, &|_, _, _| ()).await.unwrap();
        for bytes in &sealed.bytes[..3] {
            assert!(crate::keyring::holding(&into, &bytes[..24]).is_empty(), "a restore from it has no key of what was shredded later");
        }
        let late = bench.path(&format!("restored-late-{with_snapshot}"));
        bench.home("data").restore(Until::Position(live.position()), &late, &|_, _, _| ()).await.unwrap();
        assert!(crate::keyring::holding(&late, &sealed.bytes[0][..24]).is_empty(), "nor of what was shredded before");
        bench.start().await;
        assert!(*bench.vault().views() == *live && is_shredded(&live, gone));
        assert!(bench.files_with(&sealed.bytes).is_empty() && all_destroyed(&**bench.vault().keyring(), tenant, &sealed.keys));
        assert!(!bench.path("data/views.snapshot").exists(), "what was kept before the shred is gone");
    }
}

/// Lines that are logged.
#[derive(Clone, Default)]
struct Logged(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_start_that_looks_for_shreds_first_logs_no_error() {
    let mut bench = ShredBench::new().await;
    let gone = bench.import("gone").await;
    bench.shred_thing(gone).await;
    bench.vault().shutdown().await;
    bench.stop();
    drop(std::fs::remove_file(bench.path("data/views.snapshot")));
    let logged = Logged::default();
    let writer = logged.clone();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_writer(move || writer.clone()).with_ansi(false).finish();
    let said = tracing::subscriber::set_default(subscriber);
    bench.start().await;
    drop(said);
    let text = String::from_utf8(logged.0.lock().unwrap().clone()).unwrap();
    assert!(!text.contains("ERROR") && text.contains("the shreds are looked for first"), "{text}");
    assert!(is_shredded(&bench.vault().views(), gone));
}

#[tokio::test]
async fn a_keyring_that_lacks_keys_of_the_log_is_noticed_at_the_start_and_by_a_restore() {
    let mut bench = ShredBench::new().await;
    bench.import("one").await;
    let old = bench.keyring_files();
    bench.stop();
    // Another run takes its keys from batches of its own.
    bench.start().await;
    bench.import("two").await;
    let end = bench.vault().views().position();
    bench.write_snapshot().await;
    let now = bench.keyring_files();
    bench.stop();
    ShredBench::put_back(&bench.path("data"), &old);
    let error = bench.try_start().await.err().unwrap();
    assert!(matches!(error, HomeError::Vault(VaultError::Key(KeyringError::TooOld(_)))), "{error}");
    assert!(error.to_string().contains("newest copy"), "it says what to do: {error}");
    std::fs::remove_file(bench.path("data/views.snapshot")).unwrap();
    let error = bench.try_start().await.err().unwrap().to_string();
    assert!(error.contains("older than the log") && error.contains("newest copy"), "{error}");
    let into = bench.path("restored");
    let error = bench.home("data").restore(Until::Position(end), &into, &|_, _, _| ()).await.err().unwrap().to_string();
    assert!(error.contains("older than the log") && !into.exists(), "{error}");
    ShredBench::put_back(&bench.path("data"), &now);
    bench.start().await;
}

#[tokio::test]
async fn a_key_that_is_gone_though_nothing_was_shredded_stops_the_vault() {
    let mut bench = ShredBench::new().await;
    let id = bench.import("one").await;
    let key = bench.vault().views().thing(id).unwrap().facts_key;
    bench.vault().keyring().destroy(&[key]).unwrap();
    bench.stop();
    let error = bench.try_start().await.err().unwrap().to_string();
    assert!(error.contains("no event of the log says so"), "{error}");
    let reading = bench.home("data").read().unwrap();
    let opener = keyledger::views::Opener::new(reading.keyring.clone());
    let (mut views, mut tree) = Default::default();
    let end = *reading.log.head().borrow();
    let folded = keyledger::views::catch_up(&mut views, &mut tree, &*reading.log, &opener, end, &|_| ()).await;
    assert!(folded.is_err_and(|error| error.to_string().contains("no event of the log says so")));
}

#[tokio::test]
async fn a_backup_from_before_a_shred_is_restored_without_it_where_a_later_one_lies_beside_it() {
    let mut bench = ShredBench::new().await;
    let (gone, kept) = (bench.import("gone").await, bench.import("kept").await);
    let to = bench.path("backups");
    let first = bench.home("data").back_up(&to, None, &|_, _, _| ()).await.unwrap().folder;
    let sealed = bench.sealed(gone).await;
    bench.shred_thing(gone).await;
    bench.clock.pass(1000);
    let second = bench.home("data").back_up(&to, None, &|_, _, _| ()).await.unwrap().folder;
    for (backup, name) in [(second, "from-the-second"), (first, "from-the-first")] {
        let backup = backup.strip_prefix(bench.folder.path().canonicalize().unwrap()).unwrap().to_string_lossy().into_owned();
        let into = bench.path(name);
        let restored = bench.home(&backup).restore(Until::End, &into, &|_, _, _| ()).await.unwrap();
        assert_eq!(restored.state.shredded, 1);
        for bytes in &sealed.bytes[..3] {
            assert!(crate::keyring::holding(&into, &bytes[..24]).is_empty(), "{name}");
        }
        let (new, _lock) = bench.home(name).start().await.unwrap();
        assert!(is_shredded(&new.views(), gone) && !is_shredded(&new.views(), kept), "{name}");
    }
}
