//! What a run says of itself in the words of others: an in-toto statement (<https://in-toto.io/Statement/v1>) with SLSA
//! provenance (<https://slsa.dev/spec/v1.0/provenance>), which signing tools take, and an RO-Crate 1.1
//! (<https://w3id.org/ro/crate/1.1>) of process runs (<https://w3id.org/ro/wfrun/process/0.5>), which archives read.
//! Both are copies of what the record says; the record is what is sealed.

use std::collections::BTreeMap;

use harness_core::corpus_manifest::SourceRecord;
use harness_record::SealedRun;
use harness_record::format::file;
use serde_json::{Value, json};

const LICENCE_UNKNOWN: &str = "not stated";

/// An in-toto statement: that this run folder, and these checkpoints, came from this commit, plan and data.
pub fn in_toto(run: &SealedRun) -> Value {
    let (open, record) = (&run.open, &run.record);
    let subject = |name: String, sha256: String| json!({ "name": name, "digest": { "sha256": sha256 } });
    let folder = folder_of(run);
    let mut subjects = vec![subject(format!("{folder}{}", file::MANIFEST), run.root.to_string())];
    let kept = record.checkpoints.iter().filter(|checkpoint| run.path(&checkpoint.file.path).exists());
    subjects.extend(kept.map(|kept| subject(format!("{folder}{}", kept.file.path), kept.file.sha256.to_string())));

    let repository = open.code.remote.clone().unwrap_or_else(|| "repository".to_owned());
    let mut dependencies = vec![
        json!({ "uri": format!("git+{repository}@{}", open.code.commit), "digest": { "gitCommit": open.code.commit } }),
    ];
    let dependency = |uri: &str, sha256: String| json!({ "uri": uri, "digest": { "sha256": sha256 } });
    dependencies.push(dependency("harness", open.binaries.harness_sha256.to_string()));
    dependencies.push(dependency("harness-trainer", open.binaries.trainer_sha256.to_string()));
    dependencies.push(dependency(&open.data.tokenizer, open.data.tokenizer_sha256.to_string()));
    dependencies.extend(run.corpus.sources.iter().map(|source| dependency(address(source), source.sha256.to_string())));

    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": subjects,
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": format!("urn:harness:run:{}", open.format),
                "externalParameters": {
                    "experiment": open.experiment,
                    "purpose": open.plan.purpose,
                    "seed": open.plan.seed,
                    "planSha256": open.plan.plan_sha256,
                    "configSha256": open.plan.config_sha256,
                },
                "internalParameters": { "dataRoot": open.data.root, "order": open.plan.order },
                "resolvedDependencies": dependencies,
            },
            "runDetails": {
                "builder": { "id": format!("urn:harness:{}", open.binaries.harness_version) },
                "metadata": {
                    "invocationId": open.run,
                    "startedOn": open.opened_at,
                    "finishedOn": record.ended_at,
                },
            },
        },
    })
}

/// The metadata of an RO-Crate that holds these runs and `files`, each with its MIME type; paths are relative to its root. A licence
/// that is empty is not stated.
pub fn ro_crate(name: &str, licence: &str, runs: &[SealedRun], files: &[(String, &'static str)]) -> Value {
    let stated = |licence: &str| if licence.is_empty() { LICENCE_UNKNOWN } else { licence }.to_owned();
    let reference = |id: &str| json!({ "@id": id });
    let references = |ids: &mut dyn Iterator<Item = String>| ids.map(|id| json!({ "@id": id })).collect::<Vec<Value>>();
    let mut entities = BTreeMap::new();
    for (path, mime) in files {
        entities.insert(path.clone(), json!({ "@id": path, "@type": "File", "name": path, "encodingFormat": mime }));
    }
    let mut actions = Vec::new();
    for run in runs {
        let (open, record, folder) = (&run.open, &run.record, folder_of(run));
        let (program, data, action) = (
            format!("#trainer-{}", open.binaries.trainer_sha256),
            format!("#data-{}", open.data.root),
            format!("#run-{}", open.run),
        );
        entities.entry(program.clone()).or_insert_with(|| {
            json!({
                "@id": program,
                "@type": "SoftwareApplication",
                "name": "harness-trainer",
                "version": open.binaries.harness_version,
                "identifier": format!("sha256:{}", open.binaries.trainer_sha256),
            })
        });
        for source in &run.corpus.sources {
            // A file of a crate has an address, or lies in it; what a program generated has and does neither.
            let kind = if source.url.is_some() { "File" } else { "CreativeWork" };
            entities.insert(
                identifier(source),
                json!({
                    "@id": identifier(source),
                    "@type": kind,
                    "name": source.name,
                    "contentSize": source.bytes.to_string(),
                    "identifier": format!("sha256:{}", source.sha256),
                    "license": stated(&source.licence),
                }),
            );
        }
        entities.entry(data.clone()).or_insert_with(|| {
            json!({
                "@id": data,
                "@type": "Dataset",
                "name": open.data.corpus,
                "identifier": format!("sha256:{}", open.data.root),
                "isBasedOn": references(&mut run.corpus.sources.iter().map(identifier)),
            })
        });
        entities.insert(
            folder.clone(),
            json!({
                "@id": folder,
                "@type": "Dataset",
                "name": format!("Run {} of {}", open.run, open.experiment),
                "identifier": format!("sha256:{}", run.root),
                "description": format!("Sealed record of a run ({}); its identifier is the digest of {}", record.status.word(), file::MANIFEST),
            }),
        );
        let status = if record.status == harness_record::format::Status::Completed {
            "http://schema.org/CompletedActionStatus"
        } else {
            "http://schema.org/FailedActionStatus"
        };
        entities.insert(
            action.clone(),
            json!({
                "@id": action,
                "@type": "CreateAction",
                "name": format!("{}, seed {}", open.experiment, open.plan.seed),
                "description": format!("Trained and evaluated at commit {}", open.code.commit),
                "startTime": open.opened_at,
                "endTime": record.ended_at,
                "actionStatus": reference(status),
                "instrument": reference(&program),
                "object": reference(&data),
                "result": reference(&folder),
            }),
        );
        actions.push(action);
    }
    let folders = runs.iter().map(folder_of);
    let parts = references(&mut folders.chain(files.iter().map(|(path, _)| path.clone())));
    let published = runs.iter().map(|run| run.record.ended_at.as_str()).max().unwrap_or_default();
    let profile = "https://w3id.org/ro/wfrun/process/0.5";
    let mut graph = vec![
        json!({
            "@id": "ro-crate-metadata.json",
            "@type": "CreativeWork",
            "conformsTo": reference("https://w3id.org/ro/crate/1.1"),
            "about": reference("./"),
        }),
        json!({
            "@id": "./",
            "@type": "Dataset",
            "name": name,
            "description": "Runs of language models in training, each sealed: the digest of its list of files is its identifier",
            "license": stated(licence),
            "datePublished": published,
            "conformsTo": reference(profile),
            "hasPart": parts,
            "mentions": references(&mut actions.into_iter()),
        }),
        json!({ "@id": profile, "@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5" }),
    ];
    graph.extend(entities.into_values());
    json!({ "@context": "https://w3id.org/ro/crate/1.1/context", "@graph": graph })
}

fn folder_of(run: &SealedRun) -> String {
    format!("experiments/{}/runs/{}/", run.open.experiment, run.open.run)
}

fn address(source: &SourceRecord) -> &str {
    source.url.as_deref().or(source.path.as_deref()).unwrap_or(&source.name)
}

/// The name of a source in a crate.
fn identifier(source: &SourceRecord) -> String {
    source.url.clone().unwrap_or_else(|| format!("#source-{}", source.sha256))
}
