#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

/// Finds a network in a file among whatever else is in it, by the names of its tensors. Training
/// programs put the names of their own objects in front ("generator_ema.model.") and their
/// wrappers into the middle ("blocks.0._checkpoint_wrapped_module.", "blocks.0.module."); which
/// ones is nothing to list. Names alone: no LibTorch here.
namespace vmla::model {

/// Whether a name, complete and without prefixes, is one of the network's.
using IsOwnName = std::function<bool(std::string_view)>;

struct NetworkChoice {
  std::map<std::string, std::string> names;  // the network's own name to the one in the file
  std::string prefix;                        // that stood in front: "generator_ema.model.", or ""
  /// What else the file holds: prefixes of other networks with the number of their tensors.
  std::map<std::string, size_t> others;
};

/// The name without components that begin with an underscore, as wrappers of training programs do
/// (`_orig_mod.`, `_fsdp_wrapped_module.`), wherever they stand.
std::string without_wrappers(std::string_view name);

/// Chooses among the networks in a file with these tensor names. Networks are told apart by what
/// stands in front of names that `is_own` knows. A name with a network's prefix belongs to it even
/// where `is_own` does not know it; names with no network's prefix are listed in `others`.
///
/// Of several networks the one is taken that has a role in its prefix: with `role` "" or "ema"
/// generator_ema, generator, model, state_dict, whichever is there first; with "raw" generator,
/// model, state_dict, generator_ema; any other name is taken as it is.
///
/// UserError names `source`: no network (it shows the prefix that was seen, and `own_example`, a
/// name that should be there), several of which none has the role, or two tensors with one name.
NetworkChoice choose_network(const std::vector<std::string>& names,
                             const IsOwnName& is_own,
                             const std::string& own_example,
                             const std::string& role,
                             const std::string& source);

/// `others` for a message: "'critic.' (825 tensors), 'step'"; at most a few of them.
std::string list_others(const std::map<std::string, size_t>& others);

}  // namespace vmla::model
