// Included by head_attention_cpu.cpp once for each x86-64 level, inside a namespace and under that
// level's target pragma, with VMLA_LANES floats a register and VMLA_COLUMNS registers a tile row.
// Vector types rather than loops: a tile of accumulators must stay in registers over the whole
// depth of a product.

typedef float Lanes __attribute__((vector_size(4 * VMLA_LANES)));
typedef int32_t IntLanes __attribute__((vector_size(4 * VMLA_LANES)));
typedef float UnalignedLanes __attribute__((vector_size(4 * VMLA_LANES), aligned(4), may_alias));

constexpr int64_t kLanes = VMLA_LANES;

VMLA_INLINE Lanes load(const float* from) {
  return *reinterpret_cast<const UnalignedLanes*>(from);
}
VMLA_INLINE void store(float* to, Lanes value) {
  *reinterpret_cast<UnalignedLanes*>(to) = value;
}

// 2^x for x in [-inf, 1]; below -125 it is 2^-125, which no sum of softmax weights notices. NaN
// stays NaN. Relative error 2.1e-7 at most: a least-squares fit of 2e-9 on |r| <= 1/2 and the
// roundings.
VMLA_INLINE Lanes exp2_lanes(Lanes x) {
  const Lanes least = Lanes{} - 125.0f;
  x = x < least ? least : x;
  const IntLanes n =
      __builtin_convertvector(x - 0.5f, IntLanes);  // to nearest, as x is not positive
  const Lanes r = x - __builtin_convertvector(n, Lanes);
  Lanes p = 1.339900688e-3f + r * 1.535326754e-4f;
  p = 9.618438597e-3f + r * p;
  p = 5.550332155e-2f + r * p;
  p = 2.402264790e-1f + r * p;
  p = 6.931472030e-1f + r * p;
  p = 1.0f + r * p;
  return (Lanes)((IntLanes)p + (n << 23));
}

// to[i][c] (+)= sum over k of rows[i][k] * columns[k][c], for kTileRows rows and kColumns registers
// of columns.
template <int kColumns, bool kAdd>
VMLA_INLINE void product_tile(const float* rows,
                              int64_t row_stride,
                              const float* columns,
                              int64_t column_stride,
                              int64_t depth,
                              float* to,
                              int64_t to_stride) {
  Lanes sum[kTileRows][kColumns];
#pragma GCC unroll 8
  for (int i = 0; i < kTileRows; ++i) {
#pragma GCC unroll 2
    for (int c = 0; c < kColumns; ++c) {
      sum[i][c] = kAdd ? load(to + i * to_stride + c * kLanes) : Lanes{};
    }
  }
  for (int64_t k = 0; k < depth; ++k) {
    Lanes column[kColumns];
#pragma GCC unroll 2
    for (int c = 0; c < kColumns; ++c) column[c] = load(columns + k * column_stride + c * kLanes);
#pragma GCC unroll 8
    for (int i = 0; i < kTileRows; ++i) {
      const float factor = rows[i * row_stride + k];
#pragma GCC unroll 2
      for (int c = 0; c < kColumns; ++c) sum[i][c] += factor * column[c];
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < kTileRows; ++i) {
#pragma GCC unroll 2
    for (int c = 0; c < kColumns; ++c) store(to + i * to_stride + c * kLanes, sum[i][c]);
  }
}

// The same over `width` columns, a multiple of kPad.
template <bool kAdd>
void product(const float* rows,
             int64_t row_stride,
             const float* columns,
             int64_t column_stride,
             int64_t depth,
             float* to,
             int64_t to_stride,
             int64_t width) {
  int64_t c = 0;
  for (; c + VMLA_COLUMNS * kLanes <= width; c += VMLA_COLUMNS * kLanes) {
    product_tile<VMLA_COLUMNS, kAdd>(
        rows, row_stride, columns + c, column_stride, depth, to + c, to_stride);
  }
  for (; c < width; c += kLanes) {
    product_tile<1, kAdd>(rows, row_stride, columns + c, column_stride, depth, to + c, to_stride);
  }
}

// sums[j][c] += sum over the tile's rows i of weights[i][j] * rows[i][c], c over one padded width.
void accumulate_outer(const float* weights,
                      int64_t weight_stride,
                      const float* rows,
                      int64_t width,
                      int64_t count,
                      float* sums) {
  for (int64_t c = 0; c < width; c += kLanes) {
    Lanes row[kTileRows];
#pragma GCC unroll 8
    for (int i = 0; i < kTileRows; ++i) row[i] = load(rows + i * width + c);
    for (int64_t j = 0; j < count; ++j) {
      Lanes sum = load(sums + j * width + c);
#pragma GCC unroll 8
      for (int i = 0; i < kTileRows; ++i) sum += weights[i * weight_stride + j] * row[i];
      store(sums + j * width + c, sum);
    }
  }
}

// One row of scores (in powers of two) becomes weights that are not yet divided by their sum;
// returns the sum, and the largest score through `largest`.
float softmax_row(float* scores, int64_t width, float* largest) {
  Lanes top = load(scores);
  for (int64_t c = kLanes; c < width; c += kLanes) {
    const Lanes s = load(scores + c);
    top = s > top ? s : top;
  }
  float m = top[0];
  for (int64_t i = 1; i < kLanes; ++i) m = top[i] > m ? top[i] : m;
  Lanes sum = {};
  for (int64_t c = 0; c < width; c += kLanes) {
    const Lanes w = exp2_lanes(load(scores + c) - m);
    store(scores + c, w);
    sum += w;
  }
  float total = 0;
  for (int64_t i = 0; i < kLanes; ++i) total += sum[i];
  *largest = m;
  return total;
}

// to[c] = from[c] * factor, by registers and then one by one.
VMLA_INLINE void scale_row(const float* from, int64_t count, float factor, float* to) {
  int64_t c = 0;
  for (; c + kLanes <= count; c += kLanes) store(to + c, load(from + c) * factor);
  for (; c < count; ++c) to[c] = from[c] * factor;
}

// Copies up to kTileRows rows into a tile [kTileRows][width], scaled, with zeros behind and below.
void load_tile(const float* from,
               int64_t stride,
               int64_t rows,
               int64_t count,
               float factor,
               int64_t width,
               float* tile) {
  for (int64_t i = 0; i < kTileRows; ++i) {
    const int64_t filled = i < rows ? count : 0;
    scale_row(from + i * stride, filled, factor, tile + i * width);
    for (int64_t c = filled; c < width; ++c) tile[i * width + c] = 0;
  }
}

// Rows [M][count] become dense rows of a padded width.
void pack_rows(
    const float* from, int64_t stride, int64_t M, int64_t count, int64_t width, float* to) {
  for (int64_t j = 0; j < M; ++j) {
    scale_row(from + j * stride, count, 1.0f, to + j * width);
    for (int64_t c = count; c < width; ++c) to[j * width + c] = 0;
  }
}

// Rows [M][count] become columns [count][column_stride] with zeros behind M, which a tile may read.
void pack_columns(
    const float* from, int64_t stride, int64_t M, int64_t count, int64_t column_stride, float* to) {
  for (int64_t c = 0; c < count; ++c) {
    for (int64_t j = 0; j < M; ++j) to[c * column_stride + j] = from[j * stride + c];
    for (int64_t j = M; j < column_stride; ++j) to[c * column_stride + j] = 0;
  }
}

// Scores of a tile against an interval's key ranges, side by side, each padded to kPad columns. The
// padding holds products with keys of other ranges; `fill` replaces it where given.
void tile_scores(const HeadScratch& w,
                 const float* tile,
                 int64_t tile_width,
                 int64_t depth,
                 const float* columns,
                 int64_t column_stride,
                 const KeyRange* ranges,
                 int64_t range_count,
                 bool by_value,
                 const float* fill,
                 float* to) {
  int64_t offset = 0;
  for (int64_t r = 0; r < range_count; ++r) {
    const int64_t begin = by_value ? ranges[r].value_begin : ranges[r].key_begin;
    const int64_t padded = padded_width(ranges[r].count);
    product<false>(tile,
                   tile_width,
                   columns + begin,
                   column_stride,
                   depth,
                   to + offset,
                   w.score_stride,
                   padded);
    if (fill != nullptr) {
      for (int64_t i = 0; i < kTileRows; ++i) {
        for (int64_t j = ranges[r].count; j < padded; ++j)
          to[i * w.score_stride + offset + j] = *fill;
      }
    }
    offset += padded;
  }
}

void forward_head(const HeadAttentionForward& a,
                  const HeadAttentionPlan& plan,
                  int64_t b,
                  int64_t n) {
  const HeadAttentionSizes& z = a.sizes;
  const HeadScratch w = lay_out_scratch(z, plan, a.workspace);
  const float* q = a.q.data + b * a.q.batch_stride + n * a.q.head_stride;
  const float* k = a.k.data + b * a.k.batch_stride + n * a.k.head_stride;
  const float* v = a.v.data + b * a.v.batch_stride + n * a.v.head_stride;
  pack_columns(k, a.k.row_stride, z.keys, z.K, w.key_stride, w.key_columns);
  pack_rows(v, a.v.row_stride, z.values, z.V, w.V_padded, w.value_rows);
  const float minus_inf = -std::numeric_limits<float>::infinity();
  const float factor = static_cast<float>(z.scale * kLog2E);

  for (const QueryInterval& interval : plan.intervals) {
    const KeyRange* ranges = plan.ranges.data() + interval.first_range;
    int64_t width = 0;
    for (int64_t r = 0; r < interval.range_count; ++r) width += padded_width(ranges[r].count);
    for (int64_t first = 0; first < interval.query_count; first += kTileRows) {
      const int64_t row = interval.query_begin + first;
      const int64_t rows = std::min<int64_t>(kTileRows, interval.query_count - first);
      float* out = a.out_BLNV + ((b * z.L + row) * z.N + n) * z.V;
      float* lse = a.lse_BNL + (b * z.N + n) * z.L + row;
      if (width == 0) {
        for (int64_t i = 0; i < rows; ++i) {
          for (int64_t c = 0; c < z.V; ++c) out[i * z.N * z.V + c] = 0;
          lse[i] = minus_inf;
        }
        continue;
      }
      load_tile(q + row * a.q.row_stride, a.q.row_stride, rows, z.K, factor, w.K_padded, w.q_tile);
      tile_scores(w,
                  w.q_tile,
                  w.K_padded,
                  z.K,
                  w.key_columns,
                  w.key_stride,
                  ranges,
                  interval.range_count,
                  false,
                  &minus_inf,
                  w.weights);
      float inverse[kTileRows];
      for (int64_t i = 0; i < kTileRows; ++i) {
        float largest;
        const float sum = softmax_row(w.weights + i * w.score_stride, width, &largest);
        inverse[i] = 1 / sum;
        if (i < rows) lse[i] = (largest + std::log2(sum)) * static_cast<float>(kLn2);
      }
      int64_t offset = 0;
      for (int64_t r = 0; r < interval.range_count; ++r) {
        const float* values = w.value_rows + ranges[r].value_begin * w.V_padded;
        const float* weights = w.weights + offset;
        if (r == 0) {
          product<false>(weights,
                         w.score_stride,
                         values,
                         w.V_padded,
                         ranges[r].count,
                         w.out_tile,
                         w.V_padded,
                         w.V_padded);
        } else {
          product<true>(weights,
                        w.score_stride,
                        values,
                        w.V_padded,
                        ranges[r].count,
                        w.out_tile,
                        w.V_padded,
                        w.V_padded);
        }
        offset += padded_width(ranges[r].count);
      }
      for (int64_t i = 0; i < rows; ++i) {
        scale_row(w.out_tile + i * w.V_padded, z.V, inverse[i], out + i * z.N * z.V);
      }
    }
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
  const float* q = a.q.data + b * a.q.batch_stride + n * a.q.head_stride;
  const float* k = a.k.data + b * a.k.batch_stride + n * a.k.head_stride;
  const float* v = a.v.data + b * a.v.batch_stride + n * a.v.head_stride;
  const float* grad_out =
      a.grad_out.data + b * a.grad_out.batch_stride + n * a.grad_out.head_stride;
  const float* out = a.out.data + b * a.out.batch_stride + n * a.out.head_stride;
  pack_columns(k, a.k.row_stride, z.keys, z.K, w.key_stride, w.key_columns);
  pack_columns(v, a.v.row_stride, z.values, z.V, w.value_stride, w.value_columns);
  pack_rows(k, a.k.row_stride, z.keys, z.K, w.K_padded, w.key_rows);
  std::memset(w.key_sums, 0, sizeof(float) * static_cast<size_t>(z.keys * w.K_padded));
  std::memset(w.value_sums, 0, sizeof(float) * static_cast<size_t>(z.values * w.V_padded));
  const float factor = static_cast<float>(z.scale * kLog2E);

  for (const QueryInterval& interval : plan.intervals) {
    const KeyRange* ranges = plan.ranges.data() + interval.first_range;
    int64_t width = 0;
    for (int64_t r = 0; r < interval.range_count; ++r) width += padded_width(ranges[r].count);
    for (int64_t first = 0; first < interval.query_count; first += kTileRows) {
      const int64_t row = interval.query_begin + first;
      const int64_t rows = std::min<int64_t>(kTileRows, interval.query_count - first);
      float* grad_q = a.grad_q_BLNK + ((b * z.L + row) * z.N + n) * z.K;
      if (width == 0) {
        for (int64_t i = 0; i < rows; ++i) {
          for (int64_t c = 0; c < z.K; ++c) grad_q[i * z.N * z.K + c] = 0;
        }
        continue;
      }
      load_tile(q + row * a.q.row_stride, a.q.row_stride, rows, z.K, factor, w.K_padded, w.q_tile);
      load_tile(grad_out + row * a.grad_out.row_stride,
                a.grad_out.row_stride,
                rows,
                z.V,
                1.0f,
                w.V_padded,
                w.grad_tile);
      tile_scores(w,
                  w.q_tile,
                  w.K_padded,
                  z.K,
                  w.key_columns,
                  w.key_stride,
                  ranges,
                  interval.range_count,
                  false,
                  nullptr,
                  w.weights);
      tile_scores(w,
                  w.grad_tile,
                  w.V_padded,
                  z.V,
                  w.value_columns,
                  w.value_stride,
                  ranges,
                  interval.range_count,
                  true,
                  nullptr,
                  w.score_grads);
      for (int64_t i = 0; i < kTileRows; ++i) {
        float* weights = w.weights + i * w.score_stride;
        float* score_grads = w.score_grads + i * w.score_stride;
        if (i >= rows) {  // rows below the last query: no weight, so no share
          std::memset(weights, 0, sizeof(float) * static_cast<size_t>(width));
          std::memset(score_grads, 0, sizeof(float) * static_cast<size_t>(width));
          continue;
        }
        const float lse = a.lse_BNL[(b * z.N + n) * z.L + row + i] * static_cast<float>(kLog2E);
        const float* o = out + (row + i) * a.out.row_stride;
        float delta = 0;
        for (int64_t c = 0; c < z.V; ++c) delta += w.grad_tile[i * w.V_padded + c] * o[c];
        for (int64_t c = 0; c < width; c += kLanes) {
          const Lanes p = exp2_lanes(load(weights + c) - lse);
          store(weights + c, p);
          store(score_grads + c, p * (load(score_grads + c) - delta));
        }
      }
      int64_t offset = 0;
      for (int64_t r = 0; r < interval.range_count; ++r) {
        const KeyRange& range = ranges[r];
        const float* keys = w.key_rows + range.key_begin * w.K_padded;
        const float* score_grads = w.score_grads + offset;
        if (r == 0) {
          product<false>(score_grads,
                         w.score_stride,
                         keys,
                         w.K_padded,
                         range.count,
                         w.out_tile,
                         w.K_padded,
                         w.K_padded);
        } else {
          product<true>(score_grads,
                        w.score_stride,
                        keys,
                        w.K_padded,
                        range.count,
                        w.out_tile,
                        w.K_padded,
                        w.K_padded);
        }
        accumulate_outer(score_grads,
                         w.score_stride,
                         w.q_tile,
                         w.K_padded,
                         range.count,
                         w.key_sums + range.key_begin * w.K_padded);
        accumulate_outer(w.weights + offset,
                         w.score_stride,
                         w.grad_tile,
                         w.V_padded,
                         range.count,
                         w.value_sums + range.value_begin * w.V_padded);
        offset += padded_width(range.count);
      }
      const float scale = static_cast<float>(z.scale);
      for (int64_t i = 0; i < rows; ++i) {
        scale_row(w.out_tile + i * w.K_padded, z.K, scale, grad_q + i * z.N * z.K);
      }
    }
  }
  // The query tile carried scale * log2(e); ln 2 takes the logarithm back out.
  const float ln2 = static_cast<float>(kLn2);
  for (int64_t j = 0; j < z.keys; ++j) {
    float* grad_k = a.grad_k_BMNK + ((b * z.keys + j) * z.N + n) * z.K;
    scale_row(w.key_sums + j * w.K_padded, z.K, ln2, grad_k);
  }
  for (int64_t j = 0; j < z.values; ++j) {
    float* grad_v = a.grad_v_BMNV + ((b * z.values + j) * z.N + n) * z.V;
    scale_row(w.value_sums + j * w.V_padded, z.V, 1.0f, grad_v);
  }
}
