#include "launch/teacher.h"

#include <ATen/ATen.h>

#include "model/config/config_json.h"
#include "model/io/format.h"
#include "model/io/sha256.h"
#include "trainer/config/config_yaml.h"

namespace vmla::launch {
namespace {

std::string identity_of(const Teacher& teacher) {
  io::Sha256 hash;
  const std::string sizes = model::model_json(teacher.config);
  hash.update(sizes.data(), sizes.size());
  for (const auto& [name, tensor] : teacher.weights.tensors) {
    hash.update(name.data(), name.size());
    const at::Tensor values = tensor.contiguous();
    hash.update(values.const_data_ptr(), values.nbytes());
  }
  return hash.finish();
}

}  // namespace

Teacher open_teacher(const std::string& path, const std::string& role) {
  Teacher teacher;
  teacher.weights = model::load_weights(path, role);
  teacher.config = model::model_config_with(teacher.weights, {});
  teacher.identity = identity_of(teacher);
  if (teacher.weights.step < 0) return teacher;
  teacher.media = trainer::checkpoint_media(path);
  const trainer::TrainConfig config =
      trainer::parse_resolved(teacher.weights.stage_config, path + ": config");
  teacher.objective = trainer::objective_traits(config.objective);
  return teacher;
}

std::string described(const SamplingSettings& settings) {
  return formatted("{} steps, shift {:.17g}, guidance {:.17g} against \"{}\", seed {}, {} on {}",
                   settings.steps,
                   settings.timestep_shift,
                   settings.guidance_scale,
                   settings.negative_prompt,
                   settings.seed,
                   settings.compute.precision,
                   settings.compute.device);
}

}  // namespace vmla::launch
