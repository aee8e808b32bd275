// Register arithmetic of head attention: products of small tiles, the softmax of a row of scores.
// Part of head_attention_body.h. Vector types rather than loops: a tile of accumulators must stay
// in registers over the whole depth of a product.

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
VMLA_INLINE void product_tile(ConstMatrix rows, ConstMatrix columns, int64_t depth, Matrix to) {
  Lanes sum[kTileRows][kColumns];
#pragma GCC unroll 8
  for (int i = 0; i < kTileRows; ++i) {
#pragma GCC unroll 2
    for (int c = 0; c < kColumns; ++c) {
      sum[i][c] = kAdd ? load(to.data + i * to.stride + c * kLanes) : Lanes{};
    }
  }
  for (int64_t k = 0; k < depth; ++k) {
    Lanes column[kColumns];
#pragma GCC unroll 2
    for (int c = 0; c < kColumns; ++c) {
      column[c] = load(columns.data + k * columns.stride + c * kLanes);
    }
#pragma GCC unroll 8
    for (int i = 0; i < kTileRows; ++i) {
      const float factor = rows.data[i * rows.stride + k];
#pragma GCC unroll 2
      for (int c = 0; c < kColumns; ++c) sum[i][c] += factor * column[c];
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < kTileRows; ++i) {
#pragma GCC unroll 2
    for (int c = 0; c < kColumns; ++c) store(to.data + i * to.stride + c * kLanes, sum[i][c]);
  }
}

// The same over `width` columns, a multiple of kPad.
template <bool kAdd>
void product(ConstMatrix rows, ConstMatrix columns, int64_t depth, Matrix to, int64_t width) {
  int64_t c = 0;
  for (; c + VMLA_COLUMNS * kLanes <= width; c += VMLA_COLUMNS * kLanes) {
    product_tile<VMLA_COLUMNS, kAdd>(rows, columns.from_column(c), depth, to.from_column(c));
  }
  for (; c < width; c += kLanes) {
    product_tile<1, kAdd>(rows, columns.from_column(c), depth, to.from_column(c));
  }
}

// sums[j][c] += sum over the tile's rows i of weights[i][j] * rows[i][c], for `count` rows j and
// all c of one padded width; `rows` and `sums` are dense.
void accumulate_outer(
    ConstMatrix weights, const float* rows, int64_t width, int64_t count, float* sums) {
  for (int64_t c = 0; c < width; c += kLanes) {
    Lanes row[kTileRows];
#pragma GCC unroll 8
    for (int i = 0; i < kTileRows; ++i) row[i] = load(rows + i * width + c);
    for (int64_t j = 0; j < count; ++j) {
      Lanes sum = load(sums + j * width + c);
#pragma GCC unroll 8
      for (int i = 0; i < kTileRows; ++i) sum += weights.data[i * weights.stride + j] * row[i];
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
