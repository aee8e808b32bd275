#pragma once

#include <string_view>

namespace vmla::model {

/// The files of model/formats/python, which stand beside the weights of a videomla export: the
/// network for diffusers' from_pretrained, and the pipeline that streams with it.
std::string_view modeling_videomla_source();
std::string_view pipeline_videomla_source();

}  // namespace vmla::model
