#include "trainer/checkpoint/checkpoint_pieces.h"

#include "tests/support/tensor_match.h"
#include "tests/trainer/checkpoint/checkpoint_writers.h"

namespace vmla::trainer {
namespace {

TEST(CheckpointPieces, CoverEveryElementOnceForAnyCut) {
  const model::ModelConfig model = small_model("mla");
  for (const int64_t ranks : {1, 2, 3, 7, 5000}) {
    for (const int64_t unit : model::all_units(model)) {
      const auto layout = model::unit_layout(model, unit);
      const int64_t numel = layout.back().offset + layout.back().numel;
      const at::Tensor whole = at::arange(numel, at::kDouble);
      std::map<std::string, int64_t> covered;
      const int64_t each = (numel + ranks - 1) / ranks;
      for (int64_t rank = 0; rank < ranks; ++rank) {
        const int64_t begin = std::min(numel, rank * each);
        const model::FlatPart part = equal_cut(layout, rank, ranks);
        const at::Tensor flat = whole.narrow(0, begin, part.numel);
        for (const auto& [name, piece] : unit_pieces(layout, part, flat, "m/")) {
          const auto spec =
              std::ranges::find_if(layout, [&](const auto& s) { return "m/" + s.name == name; });
          ASSERT_NE(spec, layout.end());
          EXPECT_EQ(piece.shape, spec->shape);
          EXPECT_EQ(piece.is_whole(), piece.data.sizes() == at::IntArrayRef(spec->shape));
          if (!piece.is_whole()) {
            EXPECT_EQ(piece.data.dim(), 1);
          }
          EXPECT_EQ(piece.first, covered[name]);
          // Element k of the tensor is element offset + k of the unit.
          EXPECT_EQ(piece.data.reshape({-1})[0].item<double>(),
                    static_cast<double>(spec->offset + piece.first));
          covered[name] += piece.data.numel();
        }
      }
      for (const auto& spec : layout) EXPECT_EQ(covered["m/" + spec.name], spec.numel);
    }
  }
}

TEST(CheckpointPieces, AreViewsThroughWhichABufferIsFilled) {
  const model::ModelConfig model = small_model("dense");
  const auto tensors = small_weights(model, 3);
  const auto layout = model::unit_layout(model, 0);
  const at::Tensor whole = at::empty({layout.back().offset + layout.back().numel}, at::kDouble);
  for (const auto& [name, piece] : unit_pieces(layout, model::whole_unit(layout), whole)) {
    ASSERT_TRUE(piece.is_whole());
    piece.data.copy_(tensors.at(name));
  }
  const int64_t each = (whole.numel() + 2) / 3;
  for (int64_t rank = 0; rank < 3; ++rank) {
    const model::FlatPart part = equal_cut(layout, rank, 3);
    const at::Tensor flat = at::full({part.numel}, NAN, at::kDouble);
    for (const auto& [name, piece] : unit_pieces(layout, part, flat)) {
      piece.data.view({-1}).copy_(
          tensors.at(name).reshape({-1}).narrow(0, piece.first, piece.data.numel()));
    }
    EXPECT_TRUE(tests::same_bits(flat, whole.narrow(0, rank * each, part.numel)));
  }
}

TEST(CheckpointPieces, RanksThatHoldTheSameShareTheWriting) {
  const model::ModelConfig model = small_model("mla");
  const auto layout = model::unit_layout(model, model::kRootUnit);
  const model::FlatPart part = equal_cut(layout, 1, 2);
  const PieceMap pieces = unit_pieces(layout, part, at::arange(part.numel));
  for (const int64_t count : {1, 2, 3, 8}) {
    std::map<std::string, std::vector<at::Tensor>> parts;
    int64_t largest = 0;
    for (int64_t index = 0; index < count; ++index) {
      int64_t elements = 0;
      for (const auto& [name, piece] : cut_pieces(pieces, index, count)) {
        int64_t next = pieces.at(name).first;
        for (const at::Tensor& before : parts[name]) next += before.numel();
        EXPECT_EQ(piece.first, next);
        EXPECT_EQ(piece.shape, pieces.at(name).shape);
        parts[name].push_back(piece.data.reshape({-1}));
        elements += piece.data.numel();
      }
      largest = std::max(largest, elements);
    }
    EXPECT_EQ(largest, (part.numel + count - 1) / count);
    ASSERT_EQ(parts.size(), pieces.size());
    for (const auto& [name, piece] : pieces)
      EXPECT_TRUE(at::equal(at::cat(parts.at(name)), piece.data.reshape({-1}))) << name;
  }
}

TEST(CheckpointPieces, PaddingBelongsToNone) {
  const std::vector<model::TensorSpec> layout = {{"a", {2, 2}, 0, 4}, {"b", {3}, 4, 3}};
  const model::FlatPart part{.pieces = {{.tensor = 1, .first = 1, .count = 2, .offset = 1}},
                             .numel = 4};
  const PieceMap pieces = unit_pieces(layout, part, at::arange(4));
  ASSERT_EQ(pieces.size(), 1u);
  EXPECT_EQ(pieces.at("b").first, 1);
  EXPECT_TRUE(at::equal(pieces.at("b").data, at::arange(1, 3)));
  const model::FlatPart twice{.pieces = {{1, 0, 1, 0}, {1, 2, 1, 1}}, .numel = 2};
  EXPECT_ANY_THROW(unit_pieces(layout, twice, at::arange(2)));
}

}  // namespace
}  // namespace vmla::trainer
