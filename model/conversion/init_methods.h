#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

/// The ways in which dense weights become those of latent attention (docs/algorithms.md 5). One row
/// a method: validation, help texts and the conversion itself read it. No LibTorch here.
namespace vmla::model {

struct InitMethod {
  std::string_view name;
  /// One line that completes "NAME: ".
  std::string_view help;
  /// Factorises the dense projections: needs dense weights to start from, keeps every query/key
  /// channel of a dense head, and reports what each layer lost.
  bool factorises = false;
  /// Needs activations, and hence clips to run the dense model on.
  bool calibrates = false;
};

// METHOD(identifier, traits): the identifier is the name, and convert_layer_IDENTIFIER
// (model/conversion/layer_conversion.h) converts a layer, in model/conversion/IDENTIFIER.cpp.
#define VMLA_INIT_METHODS(METHOD)                                                           \
  METHOD(random, .help = "new matrices drawn from the seed, the rest from the dense model") \
  METHOD(svd_weight, .help = "truncated SVD of each layer's weights", .factorises = true)   \
  METHOD(svd_split, .help = "one SVD for keys and one for values", .factorises = true)      \
  METHOD(svd_full_mean_rope,                                                                \
         .help = "SVD over the rotary rows too, mean rotary key",                           \
         .factorises = true)                                                                \
  METHOD(transmla,                                                                          \
         .help = "PCA of balanced keys and values, rotary key turned by reals",             \
         .factorises = true,                                                                \
         .calibrates = true)                                                                \
  METHOD(care,                                                                              \
         .help = "SVD whitened by the inputs' second moment",                               \
         .factorises = true,                                                                \
         .calibrates = true)                                                                \
  METHOD(care_complex,                                                                      \
         .help = "whitened and balanced, rotary key from the keys' complex moments",        \
         .factorises = true,                                                                \
         .calibrates = true)

#define VMLA_INIT_METHOD_ROW(identifier, ...) InitMethod{.name = #identifier, __VA_ARGS__},
inline constexpr InitMethod kInitMethods[] = {VMLA_INIT_METHODS(VMLA_INIT_METHOD_ROW)};
#undef VMLA_INIT_METHOD_ROW

/// What `vmla init` uses where the configuration names none.
inline constexpr std::string_view kDefaultInitMethod = "svd_weight";

/// The method of that name, or null.
const InitMethod* find_init_method(std::string_view name);

/// All names, in the table's order.
std::vector<std::string> init_method_names();

/// "random or svd_weight", for messages.
const std::string& init_method_choice();

/// "how dense weights become latent attention: random (...) or svd_weight (...)", for help texts.
const std::string& init_method_help();

}  // namespace vmla::model
