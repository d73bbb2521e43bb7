//! Evaluation: the loss of every window of the held-out documents, and the log-probability of every choice of a
//! task. One row per item; nothing is averaged here.
//!
//! Both become [`Span`]s, which [`crate::reading`] lays out in sequences of few lengths. A batch holds
//! sequences of one length: how many they are, and so the batch size, changes no score but for the last bits of a sum.

use std::time::Instant;

use harness_core::config::TrainingConfig;
use harness_core::contract::{Evaluation, Job, JobTask, OutputFile, SelfTest, Unanswered};
use harness_core::samples::GENERATED;
use harness_core::scores::{self, ChoiceScore, Request, WindowLoss};
use harness_core::shards::TokenStream;
use harness_core::token_losses::TokenLosses;
use harness_core::{Digest, files};
use tch::{Device, Tensor};

use crate::batch::{open_stream, to_device};
use crate::error::Error;
use crate::generate;
use crate::model::mask::Packing;
use crate::model::{Transformer, loss};
use crate::ranks::Ranks;
use crate::reading::{self, Reading};
use crate::self_test::{batch_tolerance_nats, self_test};
use crate::span::{self, Span, windows};

/// Tokens (padding included) of one forward pass, unless the job says how many sequences.
const BATCH_TOKENS: usize = 4096;

/// How probable a span's targets are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SpanScore {
    /// Natural logarithm of the probability of all targets.
    pub log_probability_nats: f64,
    /// Whether each target was the most probable token.
    pub greedy: bool,
}

/// Held-out data and tasks of a job, read and checked before training begins.
pub struct Evaluator {
    documents: Option<TokenStream>,
    tasks: Vec<(JobTask, Vec<Request>)>,
    context_length: usize,
    batch_size: usize,
    separator: u32,
}

impl Evaluator {
    /// Opens the validation shards and reads the tasks' requests.
    pub fn open(job: &Job) -> Result<Self, Error> {
        let documents = match job.validation_shards.as_slice() {
            [] => None,
            paths => Some(open_stream(paths, job.vocabulary_size)?),
        };
        let mut tasks = Vec::new();
        for task in &job.tasks {
            let requests = scores::read_requests(&task.requests)?;
            let unknown = |r: &&Request| {
                let tokens = r.context.iter().chain(&r.continuation).chain(&r.unconditional);
                tokens.into_iter().any(|&id| id >= job.vocabulary_size)
            };
            if let Some(request) = requests.iter().find(unknown) {
                return Err(Error::Data(format!(
                    "`{}`: item {} holds a token outside the vocabulary of {} tokens",
                    task.requests.display(),
                    request.item,
                    job.vocabulary_size
                )));
            }
            tasks.push((task.clone(), requests));
        }
        Ok(Evaluator {
            documents,
            tasks,
            context_length: job.model.context_length as usize,
            separator: job.separator,
            batch_size: job.evaluation_batch_size as usize,
        })
    }

    /// Tests the model's scores, evaluates as asked and writes the files of `evaluations/step-NNNNNNNN/`. `None` if `should_stop` said so before the
    /// end; then nothing is left half written.
    pub fn run(
        &self,
        model: &Transformer,
        job: &Job,
        wanted: Wanted,
        at: (u64, u64),
        reader: Reader<'_>,
    ) -> Result<Option<Evaluation>, Error> {
        let start = Instant::now();
        let (step, tokens) = at;
        let reader = Reader { batch_size: self.batch_size, ..reader };
        let self_test = tested(model, job.vocabulary_size, &job.training, step, reader.device)?;
        let (mut written, mut unanswered) = (Vec::new(), Vec::new());
        let mut write = |name: &str, bytes: Vec<u8>, of_rows: Unanswered| -> Result<(), Error> {
            let path = format!("evaluations/step-{step:08}/{name}");
            if reader.ranks.is_first() {
                files::write(&job.output.join(&path), &bytes)?;
            }
            if of_rows.not_finite + of_rows.too_long + of_rows.context_cut > 0 {
                unanswered.push(Unanswered { path: path.clone(), ..of_rows });
            }
            written.push(OutputFile { path, sha256: Digest::of(&bytes), size_bytes: bytes.len() as u64 });
            Ok(())
        };
        if wanted.validation
            && let Some(documents) = &self.documents
        {
            let found = validation(model, documents, self.context_length, reader)?;
            let Some((rows, tokens)) = found else { return Ok(None) };
            let not_finite = rows.iter().filter(|row| !row.loss_nats.is_finite()).count() as u64;
            let of_rows = Unanswered { rows: rows.len() as u64, not_finite, ..Unanswered::default() };
            write("validation.csv", scores::to_csv(rows), of_rows)?;
            if wanted.token_losses {
                write("validation.tokens", tokens.to_bytes(), Unanswered::default())?;
            }
        }
        for (task, requests) in self.tasks.iter().filter(|_| wanted.tasks) {
            let windows = Windows { context_length: self.context_length, separator: self.separator, task };
            let found = task_scores(model, requests, windows, reader)?;
            let Some((rows, of_rows)) = found else { return Ok(None) };
            write(&format!("{}.csv", task.id), scores::to_csv(rows), of_rows)?;
        }
        if let Some(sampling) = &job.sampling {
            let mut drawn = Vec::new();
            for sample in 0..sampling.samples {
                if (reader.should_stop)()? {
                    return Ok(None);
                }
                drawn.push(generate::one(model, sampling, sample, (self.separator, reader.device))?);
            }
            write(GENERATED, scores::to_json_lines(drawn), Unanswered::default())?;
        }
        let wall_time_s = start.elapsed().as_secs_f64();
        Ok(Some(Evaluation { step, tokens, files: written, wall_time_s, unanswered, self_test }))
    }
}

/// Tests the scores of the model ([`self_test`]) by the code that gives them.
pub fn tested(
    model: &Transformer,
    vocabulary_size: u32,
    training: &TrainingConfig,
    step: u64,
    device: Device,
) -> Result<Option<SelfTest>, Error> {
    let alone = Ranks::alone();
    let reader = Reader { device, batch_size: 0, ranks: &alone, should_stop: &|| Ok(false) };
    let predict = |spans: &[Span]| Ok(predict(model, spans, reader)?.expect("it is not told to stop"));
    self_test(&predict, (model.context_length(), vocabulary_size), batch_tolerance_nats(training), step)
}

/// What an evaluation is to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The loss on the held-out documents.
    pub validation: bool,
    /// With that loss, the one of each token.
    pub token_losses: bool,
    /// The tasks.
    pub tasks: bool,
}

fn validation(
    model: &Transformer,
    stream: &TokenStream,
    context_length: usize,
    reader: Reader<'_>,
) -> Result<Option<(Vec<WindowLoss>, TokenLosses)>, Error> {
    let (mut rows, mut spans) = (Vec::new(), Vec::new());
    let mut document = 0;
    for shard in stream.shards() {
        for place in shard.documents() {
            for (first_token, tokens) in windows(place.tokens, context_length as u64) {
                let mut text = vec![0; tokens as usize + 1];
                shard.copy_tokens(place.first_token + first_token - 1, &mut text);
                rows.push(WindowLoss { document, first_token, tokens, loss_nats: 0.0 });
                spans.push(Span { inputs: text[..text.len() - 1].to_vec(), targets: text[1..].to_vec() });
            }
            document += 1;
        }
    }
    let Some(tokens) = predict(model, &spans, reader)? else { return Ok(None) };
    for (row, score) in rows.iter_mut().zip(sums(&spans, &tokens)) {
        row.loss_nats = -score.log_probability_nats;
    }
    Ok(Some((rows, tokens)))
}

/// How the requests of a task become spans.
#[derive(Clone, Copy)]
struct Windows<'a> {
    context_length: usize,
    separator: u32,
    task: &'a JobTask,
}

impl Windows<'_> {
    /// The spans of a request; none if it does not fit.
    fn of(self, request: &Request) -> Vec<Span> {
        match self.task.rolling_stride {
            None => Span::after(&request.context, &request.continuation, self.context_length).into_iter().collect(),
            Some(stride) => {
                span::rolling(&request.context, &request.continuation, self.context_length, stride as usize)
            }
        }
    }

    /// Tokens of context that are not read. Windows that roll need none but the last.
    fn cut(self, request: &Request) -> u64 {
        match self.task.rolling_stride {
            None => span::cut(&request.context, &request.continuation, self.context_length) as u64,
            Some(_) => 0,
        }
    }

    /// The choice on its own, after the separator.
    fn without_context(self, request: &Request) -> Option<Span> {
        let choice = request.unconditional.as_slice();
        if choice.is_empty() { None } else { Span::after(&[self.separator], choice, self.context_length) }
    }
}

/// The rows of a task, and how many of them are no answer.
fn task_scores(
    model: &Transformer,
    requests: &[Request],
    windows: Windows<'_>,
    reader: Reader<'_>,
) -> Result<Option<(Vec<ChoiceScore>, Unanswered)>, Error> {
    let mut unanswered = Unanswered { rows: requests.len() as u64, ..Unanswered::default() };
    let (mut rows, mut spans, mut owners) = (Vec::new(), Vec::new(), Vec::new());
    for (row, request) in requests.iter().enumerate() {
        let (with_context, without) = (windows.of(request), windows.without_context(request));
        let fits = !with_context.is_empty();
        let context_tokens_cut = if fits { windows.cut(request) } else { 0 };
        unanswered.too_long += u64::from(!fits || (without.is_none() && !request.unconditional.is_empty()));
        unanswered.context_cut += u64::from(context_tokens_cut > 0);
        rows.push(ChoiceScore {
            item: request.item,
            choice: request.choice,
            gold: request.gold,
            characters: request.characters,
            tokens: 0,
            log_probability_nats: fits.then_some(0.0),
            greedy: fits,
            bytes: request.bytes,
            words: request.words,
            unconditional_log_probability_nats: without.as_ref().map(|_| 0.0),
            context_tokens_cut,
            cluster: request.cluster,
        });
        owners.extend(with_context.iter().map(|_| (row, true)).chain(without.iter().map(|_| (row, false))));
        spans.extend(with_context.into_iter().chain(without));
    }
    let Some(scores) = score(model, &spans, reader)? else { return Ok(None) };
    for (&(row, with_context), (span, score)) in owners.iter().zip(spans.iter().zip(scores)) {
        let row = &mut rows[row];
        let sum = if with_context {
            row.tokens += span.targets.len() as u64;
            row.greedy &= score.greedy;
            &mut row.log_probability_nats
        } else {
            &mut row.unconditional_log_probability_nats
        };
        *sum = sum.map(|sum| sum + score.log_probability_nats);
    }
    let not_finite = |row: &&ChoiceScore| {
        let scores = [row.log_probability_nats, row.unconditional_log_probability_nats];
        scores.iter().flatten().any(|nats| !nats.is_finite())
    };
    unanswered.not_finite = rows.iter().filter(not_finite).count() as u64;
    rows.sort_by_key(|row| (row.item, row.choice));
    Ok(Some((rows, unanswered)))
}

/// How an evaluation is read.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    /// Where.
    pub device: Device,
    /// Sequences at a time; 0 means as many as 4,096 tokens are.
    pub batch_size: usize,
    /// Who reads: the batches are those of one process, shared out.
    pub ranks: &'a Ranks,
    /// Whether the evaluation should end before it is complete.
    pub should_stop: &'a dyn Fn() -> Result<bool, Error>,
}

/// Scores spans in the order given. `None` if `should_stop` said so.
pub fn score(model: &Transformer, spans: &[Span], reader: Reader<'_>) -> Result<Option<Vec<SpanScore>>, Error> {
    Ok(predict(model, spans, reader)?.map(|tokens| sums(spans, &tokens)))
}

/// The score of each span, from those of its targets.
fn sums(spans: &[Span], tokens: &TokenLosses) -> Vec<SpanScore> {
    let mut at = 0;
    let sum = |span: &Span| {
        let targets = at..at + span.targets.len();
        at = targets.end;
        SpanScore {
            log_probability_nats: tokens.loss_nats[targets.clone()].iter().map(|&loss| -f64::from(loss)).sum(),
            greedy: tokens.first_choice_right[targets].iter().all(|&right| right),
        }
    };
    spans.iter().map(sum).collect()
}

/// Predicts the targets of all spans, in their order. `None` if `should_stop` said so to any rank.
fn predict(model: &Transformer, spans: &[Span], reader: Reader<'_>) -> Result<Option<TokenLosses>, Error> {
    let Reader { device, batch_size, ranks, should_stop } = reader;
    let readings = reading::readings(spans, model.width(), model.context_length());
    let answers = spans.iter().map(|span| span.targets.len()).sum();
    let mut tokens = TokenLosses {
        loss_nats: vec![0.0; answers],
        first_choice_probability: vec![0.0; answers],
        first_choice_right: vec![false; answers],
    };
    // From the longest on, so that memory runs out in the first batch or not at all.
    let batches = readings.chunk_by(|a, b| a.shape() == b.shape()).rev().flat_map(|same_shape| {
        let (length, _) = same_shape[0].shape();
        same_shape.chunks(if batch_size == 0 { (BATCH_TOKENS / length).max(1) } else { batch_size })
    });
    let mut stopped = false;
    for batch in batches.skip(ranks.rank as usize).step_by(ranks.size as usize) {
        stopped = should_stop()?;
        if stopped {
            break;
        }
        predict_batch(model, batch, device, &mut tokens);
    }
    if ranks.count(stopped, device)? > 0.0 {
        return Ok(None);
    }
    let mut right: Vec<f32> = tokens.first_choice_right.iter().map(|&right| f32::from(u8::from(right))).collect();
    ranks.complete(&mut [&mut tokens.loss_nats, &mut tokens.first_choice_probability, &mut right], device)?;
    tokens.first_choice_right = right.iter().map(|&right| right == 1.0).collect();
    Ok(Some(tokens))
}

/// Answers what is asked of sequences of one shape.
fn predict_batch(model: &Transformer, batch: &[Reading], device: Device, out: &mut TokenLosses) {
    let (length, branching) = batch[0].shape();
    let together = |of: fn(&Reading) -> &[i64]| {
        let all: Vec<i64> = batch.iter().flat_map(of).copied().collect();
        to_device(Tensor::from_slice(&all).view([batch.len() as i64, length as i64]), device) // (B, T)
    };
    // The positions whose hidden states are needed, and for each question its place among them and its target.
    let (mut positions, mut questions, mut answers) = (Vec::new(), Vec::new(), Vec::new());
    for (row, reading) in batch.iter().enumerate() {
        for (&at, asked) in &reading.asked {
            questions.extend(asked.iter().map(|asked| (positions.len(), asked.target)));
            answers.extend(asked.iter().map(|asked| asked.answer));
            positions.push((row * length + at) as i64);
        }
    }
    let found = tch::no_grad(|| {
        let packing = branching
            .then(|| Packing::branches(together(|reading| &reading.numbers), together(|reading| &reading.places)));
        let tokens = together(|reading| &reading.tokens);
        let hidden = model.hidden(&tokens, packing.as_ref(), 0.0).flatten(0, 1); // (B T, C)
        let wanted = hidden.index_select(0, &to_device(Tensor::from_slice(&positions), device)); // (N, C)
        loss::predictions(model.head(), &wanted, &questions)
    });
    for (answer, found) in answers.into_iter().zip(found) {
        out.loss_nats[answer] = -found.log_probability_nats as f32;
        out.first_choice_probability[answer] = found.first_choice_probability;
        out.first_choice_right[answer] = found.first_choice_right;
    }
}

#[cfg(test)]
mod tests {
    use harness_core::config::ModelConfig;
    use harness_core::shards::ShardWriter;
    use tch::Kind;

    use super::*;
    use crate::model::weights::Parameters;

    const VOCABULARY: u32 = 40;
    const CONTEXT: usize = 24;

    fn model() -> Transformer {
        let config = ModelConfig {
            layers: 2,
            heads: 2,
            width: 16,
            context_length: CONTEXT as u32,
            init_std: 0.3,
            ..ModelConfig::default()
        };
        Parameters::initialize(&config, VOCABULARY, 1, Device::Cpu).model(&config, Kind::Float)
    }

    fn reader<'a>(batch_size: usize, ranks: &'a Ranks, should_stop: &'a dyn Fn() -> Result<bool, Error>) -> Reader<'a> {
        Reader { device: Device::Cpu, batch_size, ranks, should_stop }
    }

    fn request(context: usize, continuation: usize, salt: usize) -> Request {
        let token = |i: usize| ((i * 31 + salt * 7) % VOCABULARY as usize) as u32;
        Request {
            item: salt as u64,
            choice: 0,
            gold: true,
            characters: 1,
            bytes: 1,
            words: 1,
            unconditional: Vec::new(),
            cluster: None,
            context: (0..context).map(token).collect(),
            continuation: (context..context + continuation).map(token).collect(),
        }
    }

    fn span(request: &Request) -> Span {
        Span::after(&request.context, &request.continuation, CONTEXT).unwrap()
    }

    /// lm-evaluation-harness, one request at a time and without padding.
    fn naive(model: &Transformer, request: &Request) -> (f64, bool) {
        let mut all: Vec<i64> = request.context.iter().chain(&request.continuation).map(|&t| i64::from(t)).collect();
        all = all[all.len().saturating_sub(CONTEXT + 1)..].to_vec();
        let inputs = Tensor::from_slice(&all[..all.len() - 1]).unsqueeze(0);
        let log_p = tch::no_grad(|| model.logits(&inputs).log_softmax(-1, Kind::Double).squeeze_dim(0));
        let (mut sum, mut greedy) = (0.0, true);
        let count = request.continuation.len();
        for (i, &token) in request.continuation.iter().enumerate() {
            let row = log_p.get((all.len() - 1 - count + i) as i64);
            sum += row.double_value(&[i64::from(token)]);
            greedy &= row.argmax(-1, false).int64_value(&[]) == i64::from(token);
        }
        (sum, greedy)
    }

    #[test]
    fn scores_are_those_of_one_request_at_a_time() {
        let model = model();
        let lengths = [(1, 1), (1, 5), (3, 2), (20, 4), (23, 1), (24, 1), (30, 6), (100, 24), (2, 22), (9, 9)];
        let mut requests: Vec<Request> = (0..60).map(|i| request(lengths[i % 10].0, lengths[i % 10].1, i)).collect();
        // Half of the continuations follow the model's own first choice, so that both answers to `greedy` occur.
        for request in requests.iter_mut().step_by(2).filter(|r| r.continuation.len() == 1) {
            let span = span(request);
            let logits = model.logits(&Tensor::from_slice(&span.inputs).unsqueeze(0));
            request.continuation[0] = logits.get(0).get(-1).argmax(-1, false).int64_value(&[]) as u32;
        }
        // Every third is asked for without its context too.
        for request in requests.iter_mut().step_by(3) {
            request.unconditional = request.continuation.clone();
        }
        let task = JobTask { id: String::new(), requests: "".into(), rolling_stride: None };
        let windows = Windows { context_length: CONTEXT, separator: 0, task: &task };
        let (rows, unanswered) =
            task_scores(&model, &requests, windows, reader(0, &Ranks::alone(), &|| Ok(false))).unwrap().unwrap();
        assert_eq!(rows.len(), requests.len());
        // Of each ten, (30, 6), (100, 24) and no other are cut: 36 and 124 tokens into 25.
        assert_eq!(unanswered, Unanswered { rows: 60, context_cut: 12, ..Unanswered::default() });
        assert_eq!((rows[6].context_tokens_cut, rows[7].context_tokens_cut), (11, 99));
        for (row, request) in rows.iter().zip(&requests) {
            let (expected, greedy) = naive(&model, request);
            assert!((row.nats() - expected).abs() < 1e-4, "{row:?}: {expected}");
            assert_eq!((row.item, row.greedy), (request.item, greedy));
            let alone = (!request.unconditional.is_empty())
                .then(|| naive(&model, &Request { context: vec![0], ..request.clone() }).0);
            let difference =
                row.unconditional_log_probability_nats.zip(alone).map_or(0.0, |(found, alone)| found - alone);
            assert!(row.unconditional_log_probability_nats.is_some() == alone.is_some() && difference.abs() < 1e-4);
        }
        assert!(rows.iter().any(|row| row.greedy) && rows.iter().any(|row| !row.greedy));
    }

    #[test]
    fn a_score_does_not_depend_on_what_else_is_in_the_batch() {
        let model = model();
        let spans: Vec<Span> = (0..300).map(|i| span(&request(1 + i % 20, 1 + i % 4, i))).collect();
        let together = score(&model, &spans, reader(0, &Ranks::alone(), &|| Ok(false))).unwrap().unwrap();
        for batch_size in [1, 7, 64] {
            let parts = score(&model, &spans, reader(batch_size, &Ranks::alone(), &|| Ok(false))).unwrap().unwrap();
            for (part, whole) in parts.iter().zip(&together) {
                assert!((part.log_probability_nats - whole.log_probability_nats).abs() < 1e-5, "{batch_size}");
                assert_eq!(part.greedy, whole.greedy);
            }
        }
        for (span, whole) in spans.iter().zip(&together).step_by(7) {
            let alone = score(&model, std::slice::from_ref(span), reader(0, &Ranks::alone(), &|| Ok(false)))
                .unwrap()
                .unwrap()[0];
            assert!((alone.log_probability_nats - whole.log_probability_nats).abs() < 1e-5);
            assert_eq!(alone.greedy, whole.greedy);
        }
    }

    #[test]
    fn a_choice_that_does_not_fit_is_not_scored_by_its_tail() {
        let model = model();
        // Two choices that differ in their first token only, and are one token longer than the context; then one that fits.
        let long = |choice: u32| Request { choice, ..request(1, CONTEXT + 1, 0) };
        let mut requests = [long(0), long(1), Request { item: 1, ..request(3, CONTEXT, 0) }];
        requests[1].continuation[0] += 1;
        requests[2].unconditional = (0..CONTEXT as u32 + 1).collect();
        let task = JobTask { id: String::new(), requests: "".into(), rolling_stride: None };
        let windows = Windows { context_length: CONTEXT, separator: 0, task: &task };
        let (rows, unanswered) =
            task_scores(&model, &requests, windows, reader(0, &Ranks::alone(), &|| Ok(false))).unwrap().unwrap();
        for row in &rows[..2] {
            assert_eq!((row.log_probability_nats, row.tokens, row.greedy), (None, 0, false));
        }
        assert!(rows[2].nats().is_finite() && rows[2].unconditional_log_probability_nats.is_none());
        assert_eq!((rows[2].tokens, rows[2].context_tokens_cut), (CONTEXT as u64, 2));
        assert_eq!(unanswered, Unanswered { rows: 3, too_long: 3, context_cut: 1, ..Unanswered::default() });
    }

    #[test]
    fn a_model_that_is_not_finite_answers_nothing() {
        let config =
            ModelConfig { layers: 1, heads: 1, width: 4, context_length: 8, init_std: 20.0, ..ModelConfig::default() };
        // Weights that are not finite, and finite ones that make the products with the head overflow.
        for (name, factor) in
            [("token_embedding", f64::NAN), ("token_embedding", f64::INFINITY), ("final_norm.weight", 1e38)]
        {
            let parameters = Parameters::initialize(&config, VOCABULARY, 1, Device::Cpu);
            let (_, tensor) = parameters.named().find(|(found, _)| *found == name).unwrap();
            tch::no_grad(|| drop(tensor.shallow_clone().g_mul_scalar_(factor)));
            let model = parameters.model(&config, Kind::Float);
            let requests = [0, 1].map(|choice| Request { choice, continuation: vec![choice], ..request(2, 1, 0) });
            let task = JobTask { id: String::new(), requests: "".into(), rolling_stride: None };
            let windows = Windows { context_length: 8, separator: 0, task: &task };
            let found =
                task_scores(&model, &requests, windows, reader(0, &Ranks::alone(), &|| Ok(false))).unwrap().unwrap();
            let (rows, unanswered) = found;
            assert!(rows.iter().all(|row| !row.nats().is_finite() && !row.greedy), "{name} {factor}: {rows:?}");
            assert_eq!(unanswered, Unanswered { rows: 2, not_finite: 2, ..Unanswered::default() });
        }
    }

    #[test]
    fn a_tie_goes_to_the_lowest_token() {
        let config = ModelConfig { layers: 1, heads: 1, width: 4, context_length: 4, ..ModelConfig::default() };
        let parameters = Parameters::initialize(&config, VOCABULARY, 1, Device::Cpu);
        let embedding = parameters.named().find(|(name, _)| *name == "token_embedding").unwrap().1;
        tch::no_grad(|| drop(embedding.shallow_clone().fill_(0.0)));
        let model = parameters.model(&config, Kind::Float);
        let span = |target| Span { inputs: vec![1, 2], targets: vec![target] };
        let scores = score(&model, &[span(0), span(1)], reader(0, &Ranks::alone(), &|| Ok(false))).unwrap().unwrap();
        assert_eq!((scores[0].greedy, scores[1].greedy), (true, false));
        assert_eq!(scores[0].log_probability_nats, scores[1].log_probability_nats);
    }

    #[test]
    fn validation_covers_every_document_of_every_shard() {
        let folder = tempfile::tempdir().unwrap();
        let documents: Vec<Vec<u32>> =
            [5usize, 0, 24, 25, 60, 1].map(|n| (0..n as u32).map(|i| i % 39 + 1).collect()).into();
        let mut paths = Vec::new();
        for (i, half) in documents.chunks(3).enumerate() {
            let mut writer = ShardWriter::new(VOCABULARY);
            half.iter().for_each(|d| writer.push(0, d, 1));
            paths.push(folder.path().join(i.to_string()));
            writer.write(&paths[i]).unwrap();
        }
        let (model, stream) = (model(), TokenStream::open(&paths).unwrap());
        let (rows, tokens) =
            validation(&model, &stream, CONTEXT, reader(0, &Ranks::alone(), &|| Ok(false))).unwrap().unwrap();
        let places: Vec<(u64, u64, u64)> = rows.iter().map(|r| (r.document, r.first_token, r.tokens)).collect();
        let expected = [(0, 1, 5), (2, 1, 24), (3, 1, 24), (3, 25, 1), (4, 1, 24), (4, 25, 24), (4, 49, 12), (5, 1, 1)];
        assert_eq!(places, expected);
        // The second window of document 4 by hand: it reads tokens 24 to 47 and predicts 25 to 48.
        let text: Vec<i64> = std::iter::once(0).chain(documents[4].iter().map(|&t| i64::from(t))).collect();
        let log_p = model.logits(&Tensor::from_slice(&text[24..48]).unsqueeze(0)).log_softmax(-1, Kind::Double).get(0);
        let by_hand: f64 = (0..24).map(|i| -log_p.double_value(&[i, text[25 + i as usize]])).sum();
        assert!((rows[5].loss_nats - by_hand).abs() < 1e-4);
        // The tokens of that window stand behind the 78 of the rows before it.
        let logits = model.logits(&Tensor::from_slice(&text[24..48]).unsqueeze(0)).get(0);
        assert_eq!(tokens.len(), 115);
        for i in 0..24 {
            let (at, row) = (78 + i, log_p.get(i as i64));
            assert!((f64::from(tokens.loss_nats[at]) + row.double_value(&[text[25 + i]])).abs() < 1e-5);
            assert!((f64::from(tokens.first_choice_probability[at]) - row.exp().max().double_value(&[])).abs() < 1e-5);
            let first_choice = logits.get(i as i64).argmax(-1, false).int64_value(&[]);
            assert_eq!(tokens.first_choice_right[at], first_choice == text[25 + i]);
        }
        assert!(validation(&model, &stream, CONTEXT, reader(0, &Ranks::alone(), &|| Ok(true))).unwrap().is_none());
    }
}
