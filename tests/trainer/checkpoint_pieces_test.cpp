#include "trainer/checkpoint_pieces.h"

#include "model/io/error.h"
#include "tests/support/tensor_match.h"
#include "tests/trainer/checkpoint_writers.h"

#include <gmock/gmock.h>

namespace vmla::trainer {
namespace {

using testing::HasSubstr;

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

TEST(CheckpointPieces, AreViewsThatCanBeFilledFromWholeTensors) {
  const model::ModelConfig model = small_model("dense");
  const auto tensors = small_weights(model, 3);
  const auto layout = model::unit_layout(model, 0);
  at::Tensor whole = at::empty({layout.back().offset + layout.back().numel}, at::kDouble);
  for (const auto& spec : layout)
    whole.narrow(0, spec.offset, spec.numel).copy_(tensors.at(spec.name).reshape({-1}));
  for (int64_t rank = 0; rank < 3; ++rank) {
    const model::FlatPart part = equal_cut(layout, rank, 3);
    const at::Tensor flat = at::full({part.numel}, NAN, at::kDouble);
    const PieceMap pieces = unit_pieces(layout, part, flat);
    copy_pieces(pieces, whole_pieces(tensors), "the source");
    const int64_t each = (whole.numel() + 2) / 3;
    EXPECT_TRUE(tests::same_bits(flat, whole.narrow(0, rank * each, part.numel)));
    // From the pieces of a rank that holds more; not from one that holds less.
    const at::Tensor again = at::empty_like(flat);
    copy_pieces(unit_pieces(layout, part, again), pieces, "the source");
    EXPECT_TRUE(tests::same_bits(again, flat));
  }
}

TEST(CheckpointPieces, SayWhatIsMissing) {
  const PieceMap into = {{"w", {{4, 2}, 3, at::zeros({3})}}};
  const auto problem = [&](const PieceMap& from) {
    try {
      copy_pieces(into, from, "the source");
    } catch (const RunError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_EQ(problem({{"w", {{4, 2}, 2, at::zeros({4})}}}), "");
  EXPECT_THAT(problem({}), HasSubstr("the source lacks w"));
  EXPECT_THAT(problem({{"w", {{4, 2}, 4, at::zeros({4})}}}), HasSubstr("elements 3 to 5 of w"));
  EXPECT_THAT(problem({{"w", {{4, 2}, 0, at::zeros({5})}}}), HasSubstr("elements 3 to 5 of w"));
  EXPECT_THAT(problem({{"w", {{8}, 0, at::zeros({8})}}}), HasSubstr("elements 3 to 5 of w"));
}

}  // namespace
}  // namespace vmla::trainer
