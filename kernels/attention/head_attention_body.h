// Attention of one (batch, head), forward and backward, in tiles of kTileRows queries. Included by
// head_attention_cpu.cpp once for each x86-64 level, inside a namespace and under that level's
// target pragma, with VMLA_LANES floats a register and VMLA_COLUMNS registers a tile row.

#include "kernels/attention/head_attention_lanes.h"

// Copies up to kTileRows rows into a tile [kTileRows][width], scaled, with zeros behind and below.
void load_tile(
    ConstMatrix from, int64_t rows, int64_t count, float factor, int64_t width, float* tile) {
  for (int64_t i = 0; i < kTileRows; ++i) {
    const int64_t filled = i < rows ? count : 0;
    scale_row(from.row(i), filled, factor, tile + i * width);
    for (int64_t c = filled; c < width; ++c) tile[i * width + c] = 0;
  }
}

// Rows [M][count] become dense rows of a padded width.
void pack_rows(ConstMatrix from, int64_t M, int64_t count, int64_t width, float* to) {
  for (int64_t j = 0; j < M; ++j) {
    scale_row(from.row(j), count, 1.0f, to + j * width);
    for (int64_t c = count; c < width; ++c) to[j * width + c] = 0;
  }
}

// Rows [M][count] become columns [count][stride] with zeros behind M, which a tile may read.
void pack_columns(ConstMatrix from, int64_t M, int64_t count, Matrix to) {
  for (int64_t c = 0; c < count; ++c) {
    for (int64_t j = 0; j < M; ++j) to.row(c)[j] = from.row(j)[c];
    for (int64_t j = M; j < to.stride; ++j) to.row(c)[j] = 0;
  }
}

// Products of a tile [kTileRows][depth] with the seen columns, side by side, each range padded to
// kPad columns. The padding holds products with columns of other ranges; `fill` replaces it where
// given.
void tile_scores(ConstMatrix tile,
                 int64_t depth,
                 ConstMatrix columns,
                 const SeenKeys& seen,
                 Side side,
                 const float* fill,
                 Matrix scores) {
  int64_t offset = 0;
  for (int64_t r = 0; r < seen.count; ++r) {
    const KeyRange& range = seen.ranges[r];
    const int64_t padded = padded_width(range.count);
    product<false>(tile,
                   columns.from_column(first_of(range, side)),
                   depth,
                   scores.from_column(offset),
                   padded);
    if (fill != nullptr) {
      for (int64_t i = 0; i < kTileRows; ++i) {
        for (int64_t j = range.count; j < padded; ++j) scores.row(i)[offset + j] = *fill;
      }
    }
    offset += padded;
  }
}

// to[i] = sum over the seen keys j of weights[i][j] * rows[j]; `rows` and `to` are dense, of one
// padded width.
void sum_weighted_rows(ConstMatrix weights,
                       const float* rows,
                       const SeenKeys& seen,
                       Side side,
                       int64_t width,
                       float* to) {
  int64_t offset = 0;
  for (int64_t r = 0; r < seen.count; ++r) {
    const KeyRange& range = seen.ranges[r];
    const ConstMatrix part{rows + first_of(range, side) * width, width};
    if (r == 0) {
      product<false>(weights.from_column(offset), part, range.count, {to, width}, width);
    } else {
      product<true>(weights.from_column(offset), part, range.count, {to, width}, width);
    }
    offset += padded_width(range.count);
  }
}

// sums[j] += sum over the tile's rows i of weights[i][j] * rows[i], for the seen keys j.
void add_outer_products(ConstMatrix weights,
                        const float* rows,
                        const SeenKeys& seen,
                        Side side,
                        int64_t width,
                        float* sums) {
  int64_t offset = 0;
  for (int64_t r = 0; r < seen.count; ++r) {
    const KeyRange& range = seen.ranges[r];
    accumulate_outer(weights.from_column(offset),
                     rows,
                     width,
                     range.count,
                     sums + first_of(range, side) * width);
    offset += padded_width(range.count);
  }
}

// Outputs and log-sum-exps of `rows` <= kTileRows queries, the first of them at q.
void forward_tile(const HeadAttentionSizes& z,
                  const HeadScratch& w,
                  const SeenKeys& seen,
                  ConstMatrix q,
                  int64_t rows,
                  Matrix out,
                  float* lse) {
  const float minus_inf = -std::numeric_limits<float>::infinity();
  // The scale, and log2(e): scores are exponents of 2.
  const float factor = static_cast<float>(z.scale * kLog2E);
  load_tile(q, rows, z.K, factor, w.padded_K, w.q_tile);
  const Matrix scores{w.weights, w.score_stride};
  tile_scores({w.q_tile, w.padded_K},
              z.K,
              {w.key_columns, w.key_stride},
              seen,
              Side::kKeys,
              &minus_inf,
              scores);
  float inverse[kTileRows];
  for (int64_t i = 0; i < kTileRows; ++i) {
    float largest;
    const float sum = softmax_row(scores.row(i), seen.width, &largest);
    inverse[i] = 1 / sum;
    if (i < rows) lse[i] = (largest + std::log2(sum)) * static_cast<float>(kLn2);
  }
  sum_weighted_rows(scores, w.value_rows, seen, Side::kValues, w.padded_V, w.out_tile);
  for (int64_t i = 0; i < rows; ++i) {
    scale_row(w.out_tile + i * w.padded_V, z.V, inverse[i], out.row(i));
  }
}

void forward_head(const HeadAttentionForward& a,
                  const HeadAttentionPlan& plan,
                  int64_t b,
                  int64_t n) {
  const HeadAttentionSizes& z = a.sizes;
  const HeadScratch w = lay_out_scratch(z, plan, a.workspace);
  const ConstMatrix q = head_of(a.q, b, n);
  pack_columns(head_of(a.k, b, n), z.keys, z.K, {w.key_columns, w.key_stride});
  pack_rows(head_of(a.v, b, n), z.values, z.V, w.padded_V, w.value_rows);
  const Matrix out{a.out_BLNV + (b * z.L * z.N + n) * z.V, z.N * z.V};
  float* lse = a.lse_BNL + (b * z.N + n) * z.L;

  for (const QueryInterval& interval : plan.intervals) {
    const SeenKeys seen = keys_of(plan, interval);
    for (int64_t first = 0; first < interval.query_count; first += kTileRows) {
      const int64_t row = interval.query_begin + first;
      const int64_t rows = std::min<int64_t>(kTileRows, interval.query_count - first);
      if (seen.width > 0) {
        forward_tile(z, w, seen, q.from_row(row), rows, out.from_row(row), lse + row);
        continue;
      }
      for (int64_t i = row; i < row + rows; ++i) {
        std::fill(out.row(i), out.row(i) + z.V, 0.0f);
        lse[i] = -std::numeric_limits<float>::infinity();
      }
    }
  }
}

// What the backward of a tile reads: the tile's rows of each.
struct BackwardRows {
  ConstMatrix q, grad_out, out;
  const float* lse;
};

// The tile's weights p = 2^(score - lse), in place of its scores, and its score gradients
// ds = p * (dO v^T - delta) with delta = sum(dO * O), in place of dO v^T.
void weights_and_score_grads(const HeadAttentionSizes& z,
                             const HeadScratch& w,
                             int64_t width,
                             const BackwardRows& in,
                             int64_t rows) {
  for (int64_t i = 0; i < kTileRows; ++i) {
    float* weights = w.weights + i * w.score_stride;
    float* score_grads = w.score_grads + i * w.score_stride;
    if (i >= rows) {  // rows below the last query: no weight, so no share
      std::memset(weights, 0, sizeof(float) * static_cast<size_t>(width));
      std::memset(score_grads, 0, sizeof(float) * static_cast<size_t>(width));
      continue;
    }
    const float lse = in.lse[i] * static_cast<float>(kLog2E);
    const float* o = in.out.row(i);
    float delta = 0;
    for (int64_t c = 0; c < z.V; ++c) delta += w.grad_tile[i * w.padded_V + c] * o[c];
    for (int64_t c = 0; c < width; c += kLanes) {
      const Lanes p = exp2_lanes(load(weights + c) - lse);
      store(weights + c, p);
      store(score_grads + c, p * (load(score_grads + c) - delta));
    }
  }
}

// Writes the tile's query gradients and adds its share to the scratch sums of keys and values.
void backward_tile(const HeadAttentionSizes& z,
                   const HeadScratch& w,
                   const SeenKeys& seen,
                   const BackwardRows& in,
                   int64_t rows,
                   Matrix grad_q) {
  const float factor = static_cast<float>(z.scale * kLog2E);
  load_tile(in.q, rows, z.K, factor, w.padded_K, w.q_tile);
  load_tile(in.grad_out, rows, z.V, 1.0f, w.padded_V, w.grad_tile);
  const Matrix weights{w.weights, w.score_stride};
  const Matrix score_grads{w.score_grads, w.score_stride};
  tile_scores({w.q_tile, w.padded_K},
              z.K,
              {w.key_columns, w.key_stride},
              seen,
              Side::kKeys,
              nullptr,
              weights);
  tile_scores({w.grad_tile, w.padded_V},
              z.V,
              {w.value_columns, w.value_stride},
              seen,
              Side::kValues,
              nullptr,
              score_grads);
  weights_and_score_grads(z, w, seen.width, in, rows);
  sum_weighted_rows(score_grads, w.key_rows, seen, Side::kKeys, w.padded_K, w.out_tile);
  add_outer_products(score_grads, w.q_tile, seen, Side::kKeys, w.padded_K, w.key_sums);
  add_outer_products(weights, w.grad_tile, seen, Side::kValues, w.padded_V, w.value_sums);
  const float scale = static_cast<float>(z.scale);
  for (int64_t i = 0; i < rows; ++i) {
    scale_row(w.out_tile + i * w.padded_K, z.K, scale, grad_q.row(i));
  }
}

// With p = exp(scale q.k - lse) and delta = sum(dO * O): dv += p^T dO, ds = p * (dO v^T - delta),
// dq = scale ds k, dk += scale ds^T q.
void backward_head(const HeadAttentionBackward& a,
                   const HeadAttentionPlan& plan,
                   int64_t b,
                   int64_t n) {
  const HeadAttentionSizes& z = a.sizes;
  const HeadScratch w = lay_out_scratch(z, plan, a.workspace);
  const ConstMatrix k = head_of(a.k, b, n), v = head_of(a.v, b, n);
  pack_columns(k, z.keys, z.K, {w.key_columns, w.key_stride});
  pack_columns(v, z.values, z.V, {w.value_columns, w.value_stride});
  pack_rows(k, z.keys, z.K, w.padded_K, w.key_rows);
  std::memset(w.key_sums, 0, sizeof(float) * static_cast<size_t>(z.keys * w.padded_K));
  std::memset(w.value_sums, 0, sizeof(float) * static_cast<size_t>(z.values * w.padded_V));
  const BackwardRows all{.q = head_of(a.q, b, n),
                         .grad_out = head_of(a.grad_out, b, n),
                         .out = head_of(a.out, b, n),
                         .lse = a.lse_BNL + (b * z.N + n) * z.L};
  const Matrix grad_q{a.grad_q_BLNK + (b * z.L * z.N + n) * z.K, z.N * z.K};

  for (const QueryInterval& interval : plan.intervals) {
    const SeenKeys seen = keys_of(plan, interval);
    for (int64_t first = 0; first < interval.query_count; first += kTileRows) {
      const int64_t row = interval.query_begin + first;
      const int64_t rows = std::min<int64_t>(kTileRows, interval.query_count - first);
      if (seen.width > 0) {
        const BackwardRows in{.q = all.q.from_row(row),
                              .grad_out = all.grad_out.from_row(row),
                              .out = all.out.from_row(row),
                              .lse = all.lse + row};
        backward_tile(z, w, seen, in, rows, grad_q.from_row(row));
        continue;
      }
      for (int64_t i = row; i < row + rows; ++i) {
        std::fill(grad_q.row(i), grad_q.row(i) + z.K, 0.0f);
      }
    }
  }
  // The query tile carried scale * log2(e); ln 2 takes the logarithm back out.
  const float ln2 = static_cast<float>(kLn2);
  for (int64_t j = 0; j < z.keys; ++j) {
    float* grad_k = a.grad_k_BMNK + ((b * z.keys + j) * z.N + n) * z.K;
    scale_row(w.key_sums + j * w.padded_K, z.K, ln2, grad_k);
  }
  for (int64_t j = 0; j < z.values; ++j) {
    float* grad_v = a.grad_v_BMNV + ((b * z.values + j) * z.N + n) * z.V;
    scale_row(w.value_sums + j * w.padded_V, z.V, 1.0f, grad_v);
  }
}
