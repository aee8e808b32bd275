#include "model/network/context_pass.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

namespace vmla::model {

std::vector<LayerKv> context_kv(const Network& network, const ContextPass& pass) {
  const at::NoGradGuard no_grad;
  const ForwardOptions options{.keep_kv = true,
                               .need_flow = false,
                               .pass_cache = pass.pass_cache,
                               .chunk_cache = pass.chunk_cache,
                               .form = pass.form};
  const DitInputs inputs{
      pass.latents_BFCHW, same_time(pass.latents_BFCHW, pass.timestep), pass.text_BTE};
  return dit_forward(network, inputs, pass.plan, pass.window, options).kv;
}

}  // namespace vmla::model
