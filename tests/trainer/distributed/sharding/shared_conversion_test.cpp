#include "trainer/distributed/sharding/shared_conversion.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "tests/model/tiny_network.h"
#include "trainer/distributed/collectives/thread_communicator.h"

namespace vmla::distributed {
namespace {

/// A stand-in for a conversion: what it makes depends on the layer, and it is counted.
TEST(SharedConversion, EveryRankGetsAllLayersAndConvertsItsOwn) {
  const model::ModelConfig mla = model::tiny_mla();
  const auto given = model::drawn_weights(mla);
  const auto convert = [&](int64_t layer) {
    model::ConvertedLayer made;
    made.report.layer = layer;
    made.report.kv_error = 0.5 + static_cast<double>(layer);
    const std::string prefix = "blocks." + std::to_string(layer) + ".self_attn.";
    for (const auto& spec : model::unit_layout(mla, layer)) {
      if (spec.name.starts_with(prefix))
        made.tensors[spec.name.substr(prefix.size())] = given.at(spec.name).to(at::kFloat);
    }
    return made;
  };
  const auto expected = model::convert_alone(mla.num_layers, convert);
  for (const int64_t ranks : {1, 2, 3}) {
    on_threads(ranks, [&](Communicator& group) {
      int64_t converted = 0;
      const auto found = convert_shared(group, mla)(mla.num_layers, [&](int64_t layer) {
        ++converted;
        return convert(layer);
      });
      EXPECT_LE(converted, (mla.num_layers + ranks - 1) / ranks);
      ASSERT_EQ(found.size(), expected.size());
      for (size_t i = 0; i < found.size(); ++i) {
        EXPECT_EQ(found[i].report.layer, expected[i].report.layer);
        EXPECT_EQ(found[i].report.kv_error, expected[i].report.kv_error);
        ASSERT_EQ(found[i].tensors.size(), expected[i].tensors.size());
        for (const auto& [name, tensor] : expected[i].tensors)
          EXPECT_TRUE(at::equal(found[i].tensors.at(name), tensor)) << name;
      }
    });
  }
}

}  // namespace
}  // namespace vmla::distributed
