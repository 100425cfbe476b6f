/* SPDX-License-Identifier: Apache-2.0
 *
 * bench/older/calls.h: a call for each option struct: what is said in it, and the call. Included more than once.
 */
CALL(soma_context_options, (.seed = 3, .threads = 1, .log = hear, .data_path = "/nowhere"), opens(o))
CALL(soma_input_options, (.shape = SOMA_SHAPE(3)), made(soma_input_with(m, "other", SOMA_F32, o)))
CALL(soma_tensor_options, (.shape = SOMA_SHAPE(3, 2), .init = "normal", .a = 1, .b = 2, .fan_in = 3, .frozen = true),
     made(soma_parameter_with(m, "p", o)))
CALL(soma_apply_options, (.layer = "apart"), !soma_apply_with(soma_op_find("relu"), &x, 1, out, 1, o))
CALL(soma_program_options,
     (.name = "p", .batch = 2, .values = &y, .n_values = 1, .training = true, .micro_batch = 1, .precision = "f32"),
     compiles(o))
CALL(soma_clip_options, (.x = x, .min = -1, .max = 1), made(soma_clip_with(o)))
CALL(soma_matmul_options, (.b = rows, .transpose_a = false), made(soma_matmul_with(x, o)))
CALL(soma_reduce_options, (.x = f, .axes = SOMA_AXIS(1), .keep_dims = true), made(soma_reduce_sum_with(o)))
CALL(soma_slice_options, (.x = f, .axis = 1, .begin = 1, .end = 2), made(soma_slice_with(o)))
CALL(soma_op_conv2d_options, (.w = w, .stride = {1, 2}, .pad = {1, 1, 1, 1}, .groups = 1),
     made(soma_op_conv2d_with(f, o)))
CALL(soma_dataset_options, (.path = idx, .format = "idx", .split = "all", .transform = {.scale = 1}, .limit = 2),
     holds(soma_dataset_open_with(s, o)))
CALL(soma_arrays_options, (.x = xt, .transform = {.scale = 2}, .classes = names), holds(soma_dataset_arrays_with(s, o)))
CALL(soma_loader_options, (.batch_size = 4, .seed = 2, .threads = 1), loads(o))
CALL(soma_image_options, (.path = picture, .shape = SOMA_SHAPE(3, 8, 8), .pixels = pixels), !soma_image_read_with(s, o))
CALL(soma_load_weights_options, (.path = weights, .layout = "torch", .map = rules, .n_map = 1, .report = &report),
     !soma_load_weights_with(m, o))
CALL(soma_zoo_options, (.name = "mlp", .classes = 3, .width = 0.5), builds(o))
CALL(soma_fit_options,
     (.data = data, .loss = "softmax_cross_entropy", .groups = groups, .n_groups = 1, .batch_size = 4, .epochs = 1,
      .validation_split = 0.25, .seed = 1, .on_progress = go_on, .result = &progress, .stop = stay),
     !soma_fit_with(m, o))
CALL(soma_evaluate_options, (.data = data, .batch_size = 4, .result = &evaluation, .precision = "f32", .stop = stay),
     !soma_evaluate_with(m, o))
CALL(soma_predict_options, (.y = &yt, .precision = "f32"), !soma_predict_with(m, &xt, o))
#undef CALL
