#pragma once

#include <array>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "analysis/rank/spectrum.h"
#include "analysis/study/kv_names.h"

/// Singular spectra of a dense model's key and value weights: does a pretrained model have the low
/// rank that a latent bottleneck would need? Raw weights: no norm gain, no bias.
namespace vmla::analysis {

/// One matrix, and what its entries would give in another order.
struct MatrixSpectra {
  /// min(rows, columns) values.
  Spectrum values;
  /// Of the same matrix with its entries permuted (shuffled_entries; the joint matrix: those of W_K
  /// among themselves, and those of W_V).
  Spectrum shuffled;
  int64_t rows = 0, columns = 0;
  /// marchenko_pastur_edge(), and how many values lie above it.
  double edge = 0;
  int64_t above_edge = 0;
};

/// Of one layer.
struct LayerSpectra {
  int64_t layer = 0;
  /// Of W_K and W_V.
  MatrixSpectra k, v;
  /// Of the joint [W_K; W_V], which is what one shared latent has to carry.
  MatrixSpectra kv;
  /// Of each head's joint [W_K of the head; W_V of the head], where heads were asked for.
  std::vector<Spectrum> heads;
};

/// Of a model.
struct WeightSpectra {
  std::vector<LayerSpectra> layers;
  /// Singular values of a matrix of independent normals, once for each shape (rows, columns) that
  /// occurs: the null of every matrix of that shape, and, cut off at r, of a truncated SVD.
  std::map<std::pair<int64_t, int64_t>, Spectrum> gaussian;
};

/// Spectra of every layer. One Gram matrix of each weight, in fp64; the joint one is their sum.
/// Values near zero err by up to 1e-8 s_1. `kv_heads` > 0: also of each head; UserError with
/// `source` in front unless it divides the rows of keys and values. Layers are computed side by
/// side, one on each thread.
WeightSpectra weight_spectra(const std::vector<KvWeights>& weights,
                             int64_t kv_heads,
                             const std::string& source);

/// Writes into the folder `out` (made if missing), with `source` as the name of the weights, the
/// files of docs/formats.md "Spectra": spectrum.h5, spectrum.csv, spectrum_heads.csv (with heads),
/// spectrum.html and SVG figures.
void write_weight_spectra(const WeightSpectra& spectra,
                          const std::string& source,
                          const std::filesystem::path& out);

}  // namespace vmla::analysis
