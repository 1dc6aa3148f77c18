# Makes metafor38_tight.json: what metafor5_*.json does not hold, or holds only to the tolerance of
# metafor's defaults. Run with R, metafor 3.8-1 and jsonlite in the folder tests/reference:
#   Rscript make_metafor38.R
suppressMessages(library(metafor))
library(jsonlite)

tight <- list(threshold = 1e-14, maxiter = 10000)
read <- function(name) read.csv(file.path("data", paste0(name, ".csv")))
pick <- function(x, names) lapply(unclass(x)[names], as.numeric)

two_level <- function(name) {
  d <- read(name)
  reml <- rma(yi, vi, data = d, control = tight)
  ml <- rma(yi, vi, data = d, method = "ML", control = tight)
  ends <- function(fit, type = "PL") {
    unname(confint(fit, type = type, control = list(tol = 1e-12))$random[1, ])
  }
  inf <- influence(reml)
  cases <- c("rstudent", "dffits", "cook.d", "cov.r", "tau2.del", "QE.del", "hat")
  out <- list(
    REML = list(tau2 = reml$tau2, beta = c(coef(reml)), se = reml$se, loglik = c(logLik(reml)),
                I2 = reml$I2, PL = ends(reml), QP = ends(reml, "QP")),
    ML = list(tau2 = ml$tau2, beta = c(coef(ml)), se = ml$se, loglik = c(logLik(ml)),
              PL = ends(ml)),
    influence = pick(inf$inf, cases),
    dfbetas = pick(inf$dfbs, "intrcpt"),
    rstandard = pick(rstandard(reml), c("resid", "se", "z")),
    loo = pick(leave1out(reml), c("estimate", "se", "Q", "tau2"))
  )
  out$moderators <- lapply(list(mod_cont = ~cont, mod_cat = ~cat, mod_both = ~cont + cat),
                           function(mods) {
    fit <- rma(yi, vi, mods = mods, data = d, control = tight)
    knha <- rma(yi, vi, mods = mods, data = d, control = tight, test = "knha")
    list(tau2 = fit$tau2, beta = unname(c(coef(fit))), se = fit$se, loglik = c(logLik(fit)),
         QM = fit$QM, knha_se = knha$se, knha_p = unname(c(knha$pval)), knha_QM = knha$QM)
  })
  inf <- influence(rma(yi, vi, mods = ~cont, data = d, control = tight))
  out$mod_cont <- list(influence = pick(inf$inf, cases),
                       dfbetas = pick(inf$dfbs, c("intrcpt", "cont")))
  out
}

three_level <- function(name, mods = ~1, rho = 0) {
  d <- read(name)
  V <- vcalc(vi, cluster = study, obs = es, rho = rho, data = d)
  fit <- rma.mv(yi, V, mods = mods, random = ~1 | study / es, data = d,
                control = list(optimizer = "nlminb", rel.tol = 1e-12))
  # Deletions need a looser tolerance: at 1e-12 nlminb reports some of them as not converged.
  loose <- rma.mv(yi, V, mods = mods, random = ~1 | study / es, data = d,
                  control = list(optimizer = "nlminb", rel.tol = 1e-10))
  betas <- names(coef(fit))
  rows <- seq_len(nrow(d))
  list(
    sigma2 = fit$sigma2, beta = unname(c(coef(fit))), se = fit$se, loglik = c(logLik(fit)),
    cook = list(effect = as.numeric(cooks.distance(loose, cluster = rows)),
                sample = as.numeric(cooks.distance(loose, cluster = d$study))),
    dfbetas = list(effect = pick(dfbetas(loose, cluster = rows), betas),
                   sample = pick(dfbetas(loose, cluster = d$study), betas)),
    rstandard = pick(rstandard(fit), c("resid", "se", "z")),
    rstandard_sample = as.numeric(rstandard(fit, cluster = d$study)$cluster$X2),
    rstudent = pick(rstudent(loose), c("resid", "se", "z")),
    rstudent_sample = as.numeric(rstudent(loose, cluster = d$study)$cluster$X2),
    samples = as.character(rstandard(fit, cluster = d$study)$cluster$slab),
    hat = as.numeric(hatvalues(fit))
  )
}

answers <- list(
  program = paste("metafor", packageVersion("metafor")),
  R = R.version.string,
  two_level = sapply(c("kaiser2021", "konstantopoulos2011", "bcg", "molloy2014"), two_level,
                     simplify = FALSE),
  three_level = list(
    konstantopoulos2011 = three_level("konstantopoulos2011"),
    konstantopoulos2011_cont = three_level("konstantopoulos2011", ~cont),
    konstantopoulos2011_rho06 = three_level("konstantopoulos2011", rho = 0.6)
  )
)
writeLines(toJSON(answers, digits = 15, auto_unbox = TRUE, pretty = 1), "metafor38_tight.json")
