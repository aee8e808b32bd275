#include "trainer/config/score_fit.h"

#include <tuple>

#include "model/config/config_rule.h"

namespace vmla::trainer {

void require_score_fits(const std::string& role,
                        const model::ModelConfig& student,
                        const model::ModelConfig& score,
                        const std::string& source) {
  const std::string key = "init_from." + role;
  if (score.is_mla()) fail_rule(key, "{} is latent attention; a score is dense", source);
  // What decides which latents and texts a network takes. Width, depth and heads are its own.
  const std::tuple<const char*, int64_t, int64_t> sizes[] = {
      {"in_dim", student.in_dim, score.in_dim},
      {"out_dim", student.out_dim, score.out_dim},
      {"patch_size[1]", student.patch_size[1], score.patch_size[1]},
      {"patch_size[2]", student.patch_size[2], score.patch_size[2]},
      {"text_dim", student.text_dim, score.text_dim},
      {"text_len", student.text_len, score.text_len}};
  for (const auto& [name, wanted, found] : sizes) {
    if (wanted == found) continue;
    fail_rule(key,
              "{} has {} {}, the student's model.{} is {}; a score must see the student's latents "
              "and texts",
              source,
              name,
              found,
              name,
              wanted);
  }
}

}  // namespace vmla::trainer
