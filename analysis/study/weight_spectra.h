#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "analysis/rank/spectrum.h"
#include "model/formats/safetensors.h"

/// Singular spectra of a dense model's key and value weights: does a pretrained model have the low
/// rank that a latent bottleneck would need? Raw weights: no norm gain, no bias.
namespace vmla::analysis {

struct LayerSpectra {
  Spectrum k, v;  // of W_K and W_V
  Spectrum kv;    // of the joint [W_K; W_V], what one shared latent has to carry
};

/// Which tensors hold W_K and W_V of layer i; "{layer}" stands for i.
struct KvNames {
  std::string k = "blocks.{layer}.self_attn.k.weight";
  std::string v = "blocks.{layer}.self_attn.v.weight";
};

/// Reads a name map: yaml whose keys are the two default names above (or just k and v) and whose
/// values are the file's names, with "{layer}". UserError names the file, the key and what is
/// valid.
KvNames read_kv_names(const std::filesystem::path& yaml);

/// Spectra of every layer that `tensors` has under `names`, from layer 0 until one is missing. One
/// Gram matrix of each weight, in fp64; the joint one is their sum. Values near zero err by up to
/// 1e-8 s_1. UserError, with `source` in front, if there is no layer, a layer lacks one of the two,
/// or the shapes do not fit.
std::vector<LayerSpectra> weight_spectra(const model::TensorMap& tensors,
                                         const KvNames& names,
                                         const std::string& source);

/// Writes into the folder `out` (made if missing):
/// - spectrum.h5: /{k,v,kv}/spectrum [layers, n] descending, /r99 [layers] int64, /r99_fractional
///   [layers], /energy_at [layers, n], the share of the energy in the first r values at column r -
///   1
/// - spectrum.csv: a row a layer and kind, energy at a few ranks
/// - spectrum_{k,v,kv}.svg and spectrum.html
void write_weight_spectra(const std::vector<LayerSpectra>& layers,
                          const std::string& source,
                          const std::filesystem::path& out);

}  // namespace vmla::analysis
