#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cmath>
#include <vector>

#include "kernels/cuda/launch.h"
#include "tests/kernels/host_cuda/buffer.h"
#include "tests/kernels/host_cuda/grid.h"

// Buffers past 2^31 and 2^32 numbers, in memory of which only the touched pages exist. Of each grid
// run the blocks that hold the last row or number: an index of 32 bits would be elsewhere by then.

namespace vmla::tests::host_cuda {
namespace {

using namespace kernels;

constexpr int64_t kMostBlocks = 65536;  // blocks_for, kernels/cuda/rows.cuh
constexpr int64_t kRowsPerBlock = 8, kThreads = 256, kPack = 8;

/// Zeros, which cost memory where they are written.
template <class T>
class Sparse {
 public:
  explicit Sparse(int64_t count) : bytes_(static_cast<size_t>(count) * sizeof(T)) {
    void* memory = mmap(nullptr,
                        bytes_,
                        PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                        -1,
                        0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    data_ = static_cast<T*>(memory);
  }
  ~Sparse() { munmap(data_, bytes_); }
  Sparse(const Sparse&) = delete;
  Sparse& operator=(const Sparse&) = delete;
  T& operator[](int64_t i) { return data_[i]; }
  T* data() { return data_; }

 private:
  size_t bytes_;
  T* data_;
};

using Half = uint16_t;  // the bits of a bf16
constexpr Half kOne = 0x3F80, kTwo = 0x4000;

/// Runs in every order, but of each grid only the block that takes the item or row.
void run_block_of(int64_t item, int64_t per_block, const std::function<int()>& launch) {
  const auto block = static_cast<unsigned>(item / per_block % kMostBlocks);
  for (const Order order : kOrders) {
    const ScopedGridSettings scope(
        {.order = order, .only = [&](const uint3& b, const dim3&) { return b.x == block; }});
    ASSERT_EQ(launch(), 0);
  }
}

TEST(KernelsPastTwoToThe31, Adamw) {
  // In the last pack, and behind it.
  for (const int64_t n : {(int64_t{1} << 31) + 80, (int64_t{1} << 32) + 12345}) {
    Sparse<float> param(n), grad(n), second(n), average(n);
    Sparse<Half> rounded(n);
    const float scale = 2;
    const int64_t last = n - 1, item = n % kPack == 0 ? last / kPack : last % kPack;
    grad[last] = 1;
    const AdamwParams a{.param = param.data(),
                        .grad = grad.data(),
                        .exp_avg = nullptr,
                        .exp_avg_sq = second.data(),
                        .count = n,
                        .grad_scale = &scale,
                        .decay = 1,
                        .beta1 = 0,
                        .beta2 = 0,
                        .one_minus_beta1 = 1,
                        .one_minus_beta2 = 0.25f,
                        .step_size = 0.5f,
                        .root_correction = 1,
                        .eps = 1,
                        .rounded = rounded.data(),
                        .average = average.data(),
                        .difference_factor = 0.5f};
    run_block_of(item, kThreads, [&] {
      param[last] = 3;
      average[last] = 1.5f;
      return cuda::launch_adamw(a, nullptr);
    });
    EXPECT_EQ(second[last], 1.0f);  // (2 * 1)^2 / 4
    EXPECT_EQ(param[last], 2.5f);   // 3 - 0.5 * 2 / (1 + 1)
    EXPECT_EQ(average[last], 2.0f);
    EXPECT_EQ(rounded[last], 0x4020);  // 2.5
  }
}

TEST(KernelsPastTwoToThe31, Gelu) {
  const int64_t n = (int64_t{3} << 31) + 77, last = n - 1;
  Sparse<Half> x(n), y(n);
  x[last] = kOne;
  run_block_of(last, kThreads, [&] {
    y[last] = 0;
    return cuda::launch_gelu_tanh({Element::kBFloat16, x.data(), y.data(), n}, nullptr);
  });
  EXPECT_EQ(y[last], 0x3F57);  // gelu(1) = 0.84119 is 0.83984 in bf16
  run_block_of(last, kThreads, [&] {
    y[last] = 0;
    return cuda::launch_gelu_tanh_backward({Element::kBFloat16, x.data(), x.data(), y.data(), n},
                                           nullptr);
  });
  EXPECT_EQ(y[last], 0x3F8B);  // its slope 1.08296 is 1.08594
}

TEST(KernelsPastTwoToThe31, Rope) {
  const int64_t B = 22, L = 65520, N = 12, K = 128, rows = B * L * N, last = rows - 1;
  Sparse<Half> x(rows * K), y(rows * K);
  Sparse<float> cos(L * 64), sin(L * 64);
  x[last * K + 126] = kOne;
  x[last * K + 127] = kTwo;
  cos[L * 64 - 1] = 3;
  sin[L * 64 - 1] = 5;
  run_block_of(last, kRowsPerBlock, [&] {
    return cuda::launch_rope({.element = Element::kBFloat16,
                              .x = x.data(),
                              .x_batch_stride = L * N * K,
                              .x_token_stride = N * K,
                              .x_head_stride = K,
                              .cos = cos.data(),
                              .sin = sin.data(),
                              .y = y.data(),
                              .B = B,
                              .L = L,
                              .N = N,
                              .K = K,
                              .num_pairs = 64,
                              .first_channel = 0,
                              .inverse = false},
                             nullptr);
  });
  EXPECT_EQ(y[last * K + 126], 0xC0E0);  // 1 * 3 - 2 * 5 = -7
  EXPECT_EQ(y[last * K + 127], 0x4130);  // 1 * 5 + 2 * 3 = 11
}

TEST(KernelsPastTwoToThe31, RopeLatents) {
  const int64_t B = 150, R = 192, pairs = 16, width = R + 2 * pairs, window = 65520, own = 65520;
  const int64_t tokens = window + own, rows = B * tokens;
  static_assert(B * (window + own) * (R + 2 * pairs) > int64_t{1} << 32);
  Sparse<Half> contents(B * own * R), keys(B * own * 2 * pairs), out(rows * width);
  Sparse<float> cos(tokens * pairs), sin(tokens * pairs);
  const int64_t last = B * own - 1;
  contents[last * R + R - 1] = kTwo;
  keys[last * 2 * pairs + 30] = kOne;
  keys[last * 2 * pairs + 31] = kTwo;
  cos[tokens * pairs - 1] = 3;
  sin[tokens * pairs - 1] = 5;
  const LatentPartParams part{.content = contents.data(),
                              .content_batch_stride = own * R,
                              .content_token_stride = R,
                              .key = keys.data(),
                              .key_batch_stride = own * 2 * pairs,
                              .key_token_stride = 2 * pairs,
                              .tokens = own};
  run_block_of(rows - 1, kRowsPerBlock, [&] {
    return cuda::launch_rope_latents({.query = {.element = Element::kBFloat16,
                                                .x = nullptr,
                                                .x_batch_stride = 0,
                                                .x_token_stride = 0,
                                                .x_head_stride = 0,
                                                .cos = nullptr,
                                                .sin = nullptr,
                                                .y = nullptr,
                                                .B = B,
                                                .L = 0,
                                                .N = 1,
                                                .K = 2 * pairs,
                                                .num_pairs = pairs,
                                                .first_channel = 0,
                                                .inverse = false},
                                      .window = part,
                                      .own = part,
                                      .cos = cos.data(),
                                      .sin = sin.data(),
                                      .rows = out.data(),
                                      .R = R,
                                      .num_pairs = pairs},
                                     nullptr);
  });
  EXPECT_EQ(out[rows * width - 2 * pairs - 1], kTwo);
  EXPECT_EQ(out[rows * width - 2], 0xC0E0);  // 1 * 3 - 2 * 5 = -7
  EXPECT_EQ(out[rows * width - 1], 0x4130);  // 1 * 5 + 2 * 3 = 11
}

/// Rows of 1536 channels, more than 2^32 numbers: frames of about 33 thousand tokens.
struct ManyRows {
  static constexpr int64_t kD = 1536, kFrames = 84, kTokens = 33391;
  static constexpr int64_t kRows = kFrames * kTokens, kLast = kRows - 1;
  Sparse<Half> x{kRows * kD}, y{kRows * kD}, out{kRows * kD};
  Sparse<float> mean{kRows}, rstd{kRows};
  std::vector<float> shift = std::vector<float>(kFrames * kD, 0.25f);
  std::vector<float> scale = std::vector<float>(kFrames * kD, 0.5f);
  // 1 and -1 by turns: mean 0, variance 1, so that h is x up to eps.
  ManyRows() {
    for (int64_t d = 0; d < kD; ++d) {
      x[kLast * kD + d] = static_cast<Half>(kOne | (d % 2) << 15);
      y[kLast * kD + d] = kTwo;
    }
  }
  Half last(int64_t d) { return out[kLast * kD + d]; }
};

TEST(KernelsPastTwoToThe31, RowsForward) {
  static_assert(ManyRows::kRows * ManyRows::kD > int64_t{1} << 32);
  ManyRows m;
  const int64_t D = ManyRows::kD, S = ManyRows::kTokens, F = ManyRows::kFrames;
  run_block_of(ManyRows::kLast, kRowsPerBlock, [&] {
    return cuda::launch_layer_norm_modulate({.element = Element::kBFloat16,
                                             .y_element = Element::kBFloat16,
                                             .row_element = Element::kFloat,
                                             .x = m.x.data(),
                                             .x_frame_stride = S * D,
                                             .x_token_stride = D,
                                             .shift = m.shift.data(),
                                             .shift_stride = D,
                                             .scale = m.scale.data(),
                                             .scale_stride = D,
                                             .y = m.out.data(),
                                             .mean = m.mean.data(),
                                             .rstd = m.rstd.data(),
                                             .frames = F,
                                             .S = S,
                                             .D = D,
                                             .eps = 1e-6},
                                            nullptr);
  });
  EXPECT_EQ(m.mean[ManyRows::kLast], 0.0f);
  EXPECT_NEAR(m.rstd[ManyRows::kLast], 1.0f, 1e-6f);
  EXPECT_EQ(m.last(4), 0x3FE0);  // 1.5 * 1 + 0.25 = 1.75
  EXPECT_EQ(m.last(5), 0xBFA0);  // -1.5 + 0.25 = -1.25
  run_block_of(ManyRows::kLast, kRowsPerBlock, [&] {
    return cuda::launch_gated_residual({.element = Element::kBFloat16,
                                        .y_element = Element::kBFloat16,
                                        .row_element = Element::kFloat,
                                        .x = m.x.data(),
                                        .x_frame_stride = S * D,
                                        .x_token_stride = D,
                                        .y = m.y.data(),
                                        .y_frame_stride = S * D,
                                        .y_token_stride = D,
                                        .gate = m.scale.data(),
                                        .gate_stride = D,
                                        .out = m.out.data(),
                                        .frames = F,
                                        .S = S,
                                        .D = D},
                                       nullptr);
  });
  EXPECT_EQ(m.last(4), kTwo);  // 1 + 0.5 * 2
  EXPECT_EQ(m.last(5), 0);     // -1 + 0.5 * 2
  run_block_of(ManyRows::kLast, kRowsPerBlock, [&] {
    return cuda::launch_rms_norm({.element = Element::kBFloat16,
                                  .weight_element = Element::kFloat,
                                  .first = {.x = m.x.data(),
                                            .x_stride = D,
                                            .weight = m.scale.data(),
                                            .y = m.out.data(),
                                            .rstd = m.rstd.data(),
                                            .rows = ManyRows::kRows,
                                            .D = D},
                                  .second = {},
                                  .eps = 1e-6},
                                 nullptr);
  });
  EXPECT_EQ(m.last(5), 0xBF00);  // -0.5
}

/// The last chunk of the last frame's tokens, in the last column of blocks, and the last row.
TEST(KernelsPastTwoToThe31, RowsBackward) {
  ManyRows m;
  const int64_t D = ManyRows::kD, S = ManyRows::kTokens, F = ManyRows::kFrames;
  const int64_t chunks = token_chunks(S);
  m.rstd[ManyRows::kLast] = 1;
  Sparse<float> sums(2 * F * chunks * D);
  std::vector<float> dshift(F * D), dscale(F * D);
  const auto last_row_block = static_cast<unsigned>(ManyRows::kLast / kRowsPerBlock % kMostBlocks);
  const auto ends = [](const uint3& b, const dim3& grid) {
    if (grid.z == 1 && grid.y == 1) return b.x == last_row_block;
    return b.x == grid.x - 1 && b.y == grid.y - 1 && b.z == grid.z - 1;
  };
  for (const Order order : kOrders) {
    const ScopedGridSettings scope({.order = order, .only = ends});
    ASSERT_EQ(cuda::launch_layer_norm_modulate_backward({.element = Element::kBFloat16,
                                                         .y_element = Element::kBFloat16,
                                                         .row_element = Element::kFloat,
                                                         .grad_y = m.y.data(),
                                                         .grad_y_frame_stride = S * D,
                                                         .grad_y_token_stride = D,
                                                         .x = m.x.data(),
                                                         .x_frame_stride = S * D,
                                                         .x_token_stride = D,
                                                         .scale = m.scale.data(),
                                                         .scale_stride = D,
                                                         .mean = m.mean.data(),
                                                         .rstd = m.rstd.data(),
                                                         .grad_x = m.out.data(),
                                                         .grad_shift = dshift.data(),
                                                         .grad_scale = dscale.data(),
                                                         .partial_sums = sums.data(),
                                                         .frames = F,
                                                         .S = S,
                                                         .D = D},
                                                        nullptr),
              0);
    // Of the last chunk's tokens only the last is not zero: dy = 2, h = -1 at an odd channel.
    const int64_t place = ((F - 1) * chunks + chunks - 1) * D + D - 1;
    EXPECT_EQ(sums[place], 2.0f);
    EXPECT_EQ(sums[F * chunks * D + place], -2.0f);
    // g = 3 everywhere: its mean leaves nothing.
    EXPECT_EQ(m.last(4), 0);
  }
}

/// More frames than a grid has blocks in its third dimension: a block takes several, one after
/// another, in the same shared memory.
TEST(KernelsPastTwoToThe31, MoreFramesThanBlocks) {
  const int64_t F = 65535 + 65, S = 9, D = 33;
  Sparse<float> grad(F * S * D), ones(F * S * D), dy(F * S * D), sums(F * D);
  std::vector<float> gate(F * D), dgate(F * D);
  for (const int64_t f : {0, 64, 65535, 65599}) {
    for (int64_t i = f * S * D; i < (f + 1) * S * D; ++i) {
      grad[i] = static_cast<float>(f % 97 + 1);
      ones[i] = 1;
    }
  }
  const auto some = [](const uint3& b, const dim3& grid) {
    return grid.z > 1 && (b.z == 0 || b.z == 64);
  };
  for (const Order order : kOrders) {
    const ScopedGridSettings scope({.order = order, .only = some});
    ASSERT_EQ(cuda::launch_gated_residual_backward({.element = Element::kFloat,
                                                    .y_element = Element::kFloat,
                                                    .row_element = Element::kFloat,
                                                    .grad = grad.data(),
                                                    .grad_frame_stride = S * D,
                                                    .grad_token_stride = D,
                                                    .y = ones.data(),
                                                    .y_frame_stride = S * D,
                                                    .y_token_stride = D,
                                                    .gate = gate.data(),
                                                    .gate_stride = D,
                                                    .grad_y = dy.data(),
                                                    .grad_gate = dgate.data(),
                                                    .partial_sums = sums.data(),
                                                    .frames = F,
                                                    .S = S,
                                                    .D = D},
                                                   nullptr),
              0);
    for (const int64_t f : {0, 64, 65535, 65599}) {
      for (const int64_t d : {0, 32}) {
        EXPECT_EQ(sums[f * D + d], static_cast<float>(S * (f % 97 + 1))) << f << "," << d;
      }
    }
  }
}

}  // namespace
}  // namespace vmla::tests::host_cuda
