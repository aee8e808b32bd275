#include "trainer/distributed/sharding/shared_conversion.h"

#include "model/io/error.h"
#include "model/weights/weights.h"

#include <ATen/ATen.h>

#include <cstring>
#include <type_traits>

namespace vmla::distributed {
namespace {

using model::ConvertedLayer;
using model::InitLayerReport;
static_assert(std::is_trivially_copyable_v<InitLayerReport>, "it travels as bytes");

/// Broadcasts the layer as rank `root` has it.
void tell(Communicator& group,
          const model::ModelConfig& mla,
          int64_t index,
          int64_t root,
          ConvertedLayer& layer) {
  const at::Tensor report = at::empty({sizeof(InitLayerReport)}, at::kByte);
  std::memcpy(report.mutable_data_ptr(), &layer.report, sizeof(InitLayerReport));
  group.broadcast(report, root).wait();
  std::memcpy(&layer.report, report.const_data_ptr(), sizeof(InitLayerReport));
  const std::string prefix = formatted("blocks.{}.self_attn.", index);
  for (const model::TensorSpec& spec : model::unit_layout(mla, index)) {
    if (!spec.name.starts_with(prefix)) continue;
    at::Tensor& tensor = layer.tensors[spec.name.substr(prefix.size())];
    tensor = group.rank() == root ? tensor.contiguous() : at::empty(spec.shape, at::kFloat);
    group.broadcast(tensor, root).wait();
  }
}

}  // namespace

model::ConvertLayers convert_shared(Communicator& group, const model::ModelConfig& mla) {
  return [&group, &mla](int64_t num_layers, const std::function<ConvertedLayer(int64_t)>& convert) {
    std::vector<ConvertedLayer> layers(static_cast<size_t>(num_layers));
    model::convert_every(num_layers, group.rank(), group.size(), convert, layers);
    for (int64_t layer = 0; layer < num_layers; ++layer)
      tell(group, mla, layer, layer % group.size(), layers[static_cast<size_t>(layer)]);
    return layers;
  };
}

}  // namespace vmla::distributed
