//! Networks on a graphics card beside the same networks on the processor, with the feature `wgpu`. Which card does not
//! matter, and one that Vulkan does in software is enough; without any, these tests fail.
//!
//! A new kind of network is one more call of [`agree`] (for those over a sequence it is in `sequence/tests.rs`) and, in
//! [`KINDS`], one more kind.

use std::sync::OnceLock;

use burn::{
    module::{Module, ModuleVisitor, Param},
    optim::GradientsParams,
    store::ModuleRecord,
    tensor::{self, Tensor},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{
    dnn,
    network::matrix,
    tests::{ladder, members},
    *,
};
use crate::device::{Choice, Kind as Driver};

/// How far outputs and gradients may be apart, as a share of the largest one of their tensor (of 1 where all are smaller).
/// Both devices add up to 64 products of 32-bit numbers in another order, three layers deep, which is some 1e-6; Vulkan
/// allows an exponential and a logarithm a few units of the last digit more.
const SAME: f32 = 1e-5;
/// How far the log-loss on rows held out may be apart after a whole training. Weights begin equal and units are left out
/// alike, but differences of the last digit grow with every step, until it is as with another seed, whose log-loss is
/// 0.01 to 0.02 away here.
const AS_GOOD: f64 = 0.02;
/// What is trained on the card.
const KINDS: [Kind; 5] = [Kind::Dnn, Kind::Corn, Kind::Cnn, Kind::Gru, Kind::Transformer];
const TIERS: usize = 3;

fn card() -> &'static Device {
    static CARD: OnceLock<Device> = OnceLock::new();
    CARD.get_or_init(|| Choice { kind: Driver::Wgpu, card: Some(0) }.open().unwrap())
}

/// Numbers between −2 and 2.
fn some(n: usize, seed: u64) -> Vec<f32> {
    let mut rng = StdRng::seed_from_u64(seed);
    (0..n).map(|_| rng.random_range(-2.0..2.0)).collect()
}

/// Collects a network's gradients in the order of its parameters.
struct Gradients {
    of: GradientsParams,
    found: Vec<Vec<f32>>,
}

impl ModuleVisitor for Gradients {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let gradient = self.of.get::<D>(param.id).expect("every parameter has a gradient");
        self.found.push(network::numbers(gradient));
    }
}

/// Loads one record on both devices and compares what the network gives for some rows of `width` inputs, and every gradient
/// of a weighted sum of that.
///
/// `new` makes a network whose weights depend on a seed; `forward` is what training does with a batch.
pub(super) fn agree<M: Module>(
    name: &str,
    rows: &[f32],
    width: usize,
    new: impl Fn(&tensor::Device, &mut StdRng) -> M,
    forward: impl Fn(&M, Tensor<2>) -> Tensor<2>,
) {
    let devices = [Device::Cpu.tensors(), card().tensors()].map(tensor::Device::autodiff);
    let record = new(&devices[0], &mut StdRng::seed_from_u64(2)).into_record().into_bytes().unwrap();
    let [ours, theirs] = devices.map(|device| {
        // Weights of another seed first: what agrees then has come from the record.
        let network = new(&device, &mut StdRng::seed_from_u64(3));
        let network = network.load_record(ModuleRecord::from_bytes(record.clone()).unwrap());
        assert!(network.devices() == [device.clone()], "{name}: {:?}", network.devices());
        let outputs = forward(&network, matrix(rows.to_vec(), rows.len() / width, width, &device));
        let [n, columns] = outputs.dims();
        let loss = (outputs.clone() * matrix(some(n * columns, 1), n, columns, &device)).sum();
        let of = GradientsParams::from_grads(loss.backward(), &network);
        let mut gradients = Gradients { of, found: vec![network::numbers(outputs)] };
        network.visit(&mut gradients);
        gradients.found
    });
    assert!(ours.len() > 1 && ours.len() == theirs.len(), "{name}");
    for (at, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        let largest = ours.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
        let apart = ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        println!("{name}, tensor {at}: {apart:.1e} apart, largest {largest:.2}");
        assert!(ours.len() == theirs.len() && largest > 1e-3, "{name}, tensor {at}");
        assert!(apart <= SAME * largest.max(1.0), "{name}, tensor {at}: {apart} apart, largest {largest}");
    }
}

#[test]
fn one_record_gives_the_same_outputs_and_gradients_on_both_devices() {
    for head in [dnn::Head::Softmax, dnn::Head::Corn] {
        let widths = [55, 64, 32, head.outputs(TIERS)];
        let new = |device: &tensor::Device, rng: &mut StdRng| dnn::Dense::new(&widths, rng, device);
        let forward = |network: &dnn::Dense, x| {
            head.log_probabilities(network.forward(x, 0.2, &mut StdRng::seed_from_u64(4)))
        };
        agree(&format!("dense, {head:?}"), &some(64 * 55, 5), 55, new, forward);
    }
}

/// The parameters of a short training, and its rows.
fn short(kind: Kind) -> (Params, Rows, Rows) {
    let dnn = dnn::Params { hidden: vec![16, 8], rate: 2e-2, batch: 450, ..dnn::Params::default() };
    let sequence =
        sequence::Params { hidden: 8, embedding: 4, rate: 4e-2, batch: 600, ..sequence::Params::default() };
    let rows = if kind.encoder().is_some() { members(800) } else { ladder(1200, TIERS) };
    let (train, held_out): (Vec<usize>, Vec<usize>) = (0..rows.len()).partition(|at| at % 4 != 0);
    (Params { dnn, sequence, ..Params::default() }, rows.select(&train), rows.select(&held_out))
}

fn log_loss(model: &Model, rows: &Rows) -> f64 {
    let probabilities = model.probabilities(rows);
    let truth = probabilities.chunks(TIERS).zip(&rows.targets).map(|(p, tier)| p[usize::from(*tier) - 1]);
    -truth.map(|p| f64::from(p).ln()).sum::<f64>() / rows.len() as f64
}

#[test]
fn a_training_on_the_card_is_as_good_and_happens_there() {
    for kind in KINDS {
        let (params, train, held_out) = short(kind);
        let fitted = |seed, device| {
            let began = std::time::Instant::now();
            let fitted =
                fit_with(kind, &Fitting { params: &params, seed, device, stream: None }, TIERS, &train)
                    .unwrap();
            let loss = log_loss(&fitted.model, &held_out);
            let (epochs, time) = (fitted.curve.len(), began.elapsed().as_secs_f64());
            println!("{kind:?} on {}: log-loss {loss:.4}, {epochs} epochs, {time:.2} s", device.name());
            (loss, fitted.model.probabilities(&held_out))
        };
        let ((cpu, ours), (card, theirs)) = (fitted(7, &Device::Cpu), fitted(7, card()));
        assert!(
            (cpu - card).abs() < AS_GOOD,
            "{kind:?}: log-loss {cpu} on the processor, {card} on the card"
        );
        let shares = crate::cuts::shares(TIERS, &held_out.targets);
        let nothing = -shares.iter().map(|share| share * share.ln()).sum::<f64>();
        assert!(cpu < 0.85 * nothing, "{kind:?}: {cpu}, and {nothing} by the tiers' shares alone");
        assert!(ours != theirs, "{kind:?}: sums in another order give the same bits, so it was not the card");
    }
}

#[test]
fn threads_that_share_a_card_get_the_bits_that_they_get_alone() {
    let (params, train, _) = short(Kind::Dnn);
    let bits = |seed: u64| {
        let fitting = Fitting { params: &params, seed, device: card(), stream: None };
        let model = fit_with(Kind::Dnn, &fitting, TIERS, &train).unwrap().model;
        model.probabilities(&train).into_iter().map(f32::to_bits).collect::<Vec<_>>()
    };
    let alone: Vec<_> = (0..4).map(bits).collect();
    let together: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|seed| scope.spawn(move || bits(seed))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(alone == together);
}
